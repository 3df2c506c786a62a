"""A task file of lm-evaluation-harness: its keys, and what a card says for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import nodes

from openflan.errors import DataError
from openflan.files import real_path
from openflan.interop.answers import answer_by_list, gold_by_index, options_of, with_gold
from openflan.interop.lm_eval_scoring import scoring
from openflan.interop.new_card import (
    NO_LICENCE,
    Draft,
    Note,
    family_of,
)
from openflan.interop.tagged_yaml import Function, read_tagged
from openflan.interop.translate import Columns, NotCarried, Translator, column, only_expression, parse_jinja
from openflan.tasks.catalog import Catalog
from openflan.untrusted import shown

TEMPLATE = "as-in-the-harness"
_READ = {
    *("include", "task", "task_alias", "tag", "group", "dataset_path", "dataset_name", "output_type", "metadata"),
    *("training_split", "validation_split", "test_split", "doc_to_text", "doc_to_target", "doc_to_choice"),
    *("description", "gen_prefix", "metric_list", "generation_kwargs", "target_delimiter", "should_decontaminate"),
    *("doc_to_decontamination_query", "num_fewshot", "repeats", "fewshot_delimiter", "fewshot_split", "filter_list"),
    "fewshot_config",
}
_TEXTS = (
    *("task", "dataset_path", "dataset_name", "output_type", "training_split", "validation_split", "test_split"),
    *("description", "gen_prefix", "target_delimiter", "fewshot_delimiter"),
)
_MOST_INCLUDES = 10
_ONE_COLUMN = re.compile(r"[A-Za-z_]\w*")


def read_task_file(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's keys over those of the files that it includes. DataError for a circle."""
    if real_path(path) in seen or len(seen) > _MOST_INCLUDES:
        raise DataError(path, "a file that includes itself", "includes that end")
    value = read_tagged(path)
    merged: dict[str, Any] = {}
    included = value.pop("include", None) or []
    for name in included if isinstance(included, list) else [included]:
        merged |= read_task_file(path.parent / str(name), (*seen, real_path(path)))
    return merged | value


def differences(config: Mapping[str, Any], path: Path) -> list[Note]:
    """A note for each key that a card has no place for. DataError for a key of the wrong type."""
    for key in _TEXTS:
        if not isinstance(config.get(key), str | Function | None):
            raise DataError(path, f"{key} = {shown(config[key])}", "a text")
    return [
        Note(
            str(key),
            "left out",
            f"a Python function, {value.name}" if isinstance(value, Function) else "no place for it in a card",
        )
        for key, value in config.items()
        if (key not in _READ or isinstance(value, Function)) and value not in (None, False, [], "")
    ]


def draft_of(
    config: Mapping[str, Any], name: str, cluster: str, catalog: Catalog, path: Path
) -> tuple[Draft, list[Note]]:
    """The card that says what the task does, and what it does otherwise. NotCarried where no card can."""
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice", "class", *_TEXTS):
        if isinstance(config.get(key), Function):
            raise NotCarried(f"{key} is a Python function, {config[key].name}")
    kind = config.get("output_type", "generate_until")
    if kind not in ("multiple_choice", "generate_until"):
        raise NotCarried(f"output_type {kind}")
    answer = _choice(config) if kind == "multiple_choice" else _text(config)
    gold = answer["gold"] if answer["kind"] == "choice" else answer["references"]

    def replaced(node: nodes.Expr) -> str | None:
        if column(node) == gold:
            raise NotCarried("the gold in the prompt")
        return None

    columns = Columns()
    translator = Translator(columns, replaced)
    parts = [config.get("description") or "", config["doc_to_text"], config.get("gen_prefix") or ""]
    if not isinstance(parts[1], str):
        raise NotCarried("a prompt that differs from option to option")
    before, text, after = parts
    text = f"{{{{ {text} }}}}" if _ONE_COLUMN.fullmatch(text) else text
    apart = not (after and text) or text[-1:].isspace() or after[:1].isspace()
    gap = "" if apart else str(config.get("target_delimiter", " "))
    prompt = translator.template(parse_jinja(f"{before}{text}{gap}{after}"))
    if not prompt.strip():
        raise NotCarried("an empty prompt: there is nothing to ask")
    if isinstance(gold, int) and not {*answer["options_from"]}.isdisjoint(columns.fields.values()):
        raise NotCarried("the right option always stands in the same place of the prompt")
    template = {"id": TEMPLATE, "input": prompt}
    hub, subset = str(config.get("dataset_path", "")), config.get("dataset_name")
    keys: dict[str, Any] = {
        "family": family_of(catalog, hub, subset, name),
        "cluster": cluster,
        "source": _source(config, hub, subset),
        "answer": answer,
        "licence": NO_LICENCE,
    }
    scored, notes = scoring(config, answer)
    if isinstance(gold, int):
        what = f"the right option is always in place {gold}, counted from 0: options are shuffled, once and for all"
        notes.insert(0, Note("doc_to_target", "changed", what))
    if answer["kind"] == "text" and (isinstance(config["doc_to_target"], list) or "[" in str(config["doc_to_target"])):
        columns.lists[answer["references"]] = 1
    made_from = f"{path.name} (lm-evaluation-harness)"
    return Draft(name, keys | scored, columns, (template,), made_from, completion={"input": prompt}), notes


def _choice(config: Mapping[str, Any]) -> dict[str, Any]:
    choices, target = config.get("doc_to_choice"), config.get("doc_to_target")
    if isinstance(choices, dict):
        choices = list(choices.values())
    if isinstance(choices, list):
        options: dict[str, Any] = {"options": [str(choice).strip() for choice in choices]}
    elif isinstance(choices, str):
        options = {"options_from": [choices]} if _ONE_COLUMN.fullmatch(choices) else options_of(choices)
    else:
        raise NotCarried("no doc_to_choice")
    if isinstance(target, int) or (isinstance(target, str) and target.isdecimal()):
        if "options" in options:
            raise NotCarried("the right option is the same in every row")
        return {"kind": "choice", **options, "gold": int(target)}
    if not isinstance(target, str):
        raise NotCarried("doc_to_target is no text")
    node = nodes.Name(target, "load") if _ONE_COLUMN.fullmatch(target) else only_expression(parse_jinja(target))
    if node is None:
        raise NotCarried("doc_to_target is no single expression")
    num_options = len(options["options"]) if "options" in options else None
    if (named := answer_by_list(node)) is not None:  # the option itself
        if named.get("options") != options.get("options") or named.get("options_from") != options.get("options_from"):
            raise NotCarried("doc_to_target names other options than doc_to_choice")
        return named
    gold = gold_by_index(node, num_options)
    if not _ONE_COLUMN.fullmatch(target) and gold.keys() == {"gold"}:  # the text of a column: digits are a number
        gold["digits_are_index"] = True
    return with_gold(options, gold)


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    target = config.get("doc_to_target")
    if config.get("doc_to_choice") is not None or not isinstance(target, str):
        raise NotCarried("doc_to_target is no text")
    node = nodes.Name(target, "load") if _ONE_COLUMN.fullmatch(target) else only_expression(parse_jinja(target))
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == 0:
        node = node.node
    if (chosen := answer_by_list(node)) is not None:
        return chosen
    path = None if node is None else column(node)
    if path is None:
        raise NotCarried("doc_to_target is more than one column")
    return {"kind": "text", "references": path}


def _source(config: Mapping[str, Any], hub: str, subset: Any) -> dict[str, Any]:
    """Where the rows are: the hub's dataset, unless the harness reads files."""
    test = config.get("test_split") or config.get("validation_split")
    train = config.get("training_split")
    splits = {"train": None if train == test else train, "test": test}
    source: dict[str, Any] = {"splits": {key: value for key, value in splits.items() if value or key == "train"}}
    if hub in ("json", "csv", "parquet", "text", ""):
        return source | {"manual": "The rows are files of the harness's task: see its dataset_kwargs."}
    return {"hub": hub, **({"config": str(subset)} if subset else {}), **source}
