"""Tasks of the catalogue as tasks of lm-evaluation-harness, with the log-probs and scores of `openflan eval`.

A folder holds, for each template, a YAML file and a JSON Lines file of rendered rows, and one Python file that they
share (`openflan_task.py.txt` here): it keeps the harness to the boundary rule of `tokens/codec.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openflan import files
from openflan.errors import CatalogError, ConfigError, DataError, did_you_mean
from openflan.evaluation.requests import limits_of_prompts, max_new_tokens
from openflan.tasks.card import ChoiceAnswer, Template
from openflan.tasks.catalog import Task
from openflan.tasks.example import Example
from openflan.tasks.words import script
from openflan.templates.render import Prompt, Style, render
from openflan.tokens.codec import Codec
from openflan.tokens.encode import Fitted, Lengths, fit

MODULE = "openflan_task"
# Those that the Python file counts; BLEU, in percent, is the harness's own, which is sacrebleu's, too.
TEXT_METRICS = ("exact_text", "exact_match", "f1", "rouge1", "rouge2", "rougeL", "edit_similarity", "bleu")
WHOLE_TEXT_METRICS = ("exact_text", "exact_match", "edit_similarity")


@dataclass(frozen=True, slots=True)
class Exported:
    """One template in the harness's form. `num_cut` prompts lost words of a field, `num_left_out` could not
    be fitted; `metrics_left_out` are metrics of the card that the harness will not report."""

    name: str
    path: Path
    num_prompts: int
    num_cut: int
    num_left_out: int
    metrics_left_out: tuple[str, ...]


def wordings_to_export(task: Task, ids: Sequence[str]) -> list[Template]:
    """The scored templates of those ids, `completion` among them; all scored templates when none is given.

    Raises CatalogError for an unknown or an inverted one.
    """
    known = {t.id: t for t in (*task.scored_templates, *([task.completion] if task.completion else []))}
    for name in ids:
        if name not in known:
            inverted = any(template.id == name for template in task.templates)
            found = f"the inverted template {name!r}" if inverted else f"no template {name!r}"
            raise CatalogError(task.path, found, "a template that is scored", did_you_mean(name, known))
    return [known[name] for name in dict.fromkeys(ids)] or list(task.scored_templates)


def export_lm_eval(
    folder: Path,
    task: Task,
    templates: Sequence[Template],
    examples: Sequence[Example],
    *,
    separator: str = "\n",
    style: Style = "instruction",
    show_options: bool = True,
    limits: tuple[Codec, Lengths] | None = None,
) -> list[Exported]:
    """Write `examples` in every one of `templates` to `folder`; what lies there under the same names is replaced.

    With `limits`, prompts are cut as evaluating with that tokenizer cuts them, and those that do not fit are left out;
    without, prompts are written whole. ConfigError for a separator that is no text, DataError where no prompt is left.
    """
    if not separator or separator == "<eos>":
        do = "The harness takes texts and not ids: export with the separator of a model that was tuned with a text."
        raise ConfigError("export lm-eval", f"the separator {separator!r}", "a text between prompt and target", do)
    module = Path(__file__).with_name(f"{MODULE}.py.txt").read_text(encoding="utf-8")
    files.write_text(folder / f"{MODULE}.py", module)
    done = []
    for template in templates:
        found = list(_prompts(task, template, examples, style, show_options, limits))
        prompts = [prompt for prompt, _ in found if prompt is not None]
        if not prompts:
            limit = f"at most {limits[1].max_input_tokens} ids" if limits else "at least one row"
            raise DataError(f"{task.name}, template {template.id}", f"no prompt of {len(examples)} rows", limit)
        name = f"openflan_{task.name}__{template.id}"
        files.write_jsonl(folder / f"{name}.jsonl", map(_row, prompts))
        known = _metrics(task, prompts)
        num_new = max_new_tokens(task, limits[1]) if limits else task.card.max_new_tokens
        files.write_text(folder / f"{name}.yaml", _task_yaml(name, task, template, separator, style, known, num_new))
        choice = isinstance(task.card.answer, ChoiceAnswer)
        unknown = tuple(m for m in task.metrics if m not in (("accuracy",) if choice else known))
        num_cut = sum(num_words > 0 for _, num_words in found)
        done.append(Exported(name, folder / f"{name}.yaml", len(prompts), num_cut, len(found) - len(prompts), unknown))
    return done


def _prompts(
    task: Task,
    template: Template,
    examples: Sequence[Example],
    style: Style,
    show_options: bool,
    limits: tuple[Codec, Lengths] | None,
) -> Iterator[tuple[Prompt | None, int]]:
    """Each example's prompt, None where it does not fit, and how many words it lost."""
    if limits is not None:
        limits = limits[0], limits_of_prompts(task, limits[1])
    for example in examples:
        if limits is None:
            yield render(example, task, template, style=style, show_options=show_options), 0
        else:
            fitted = fit(example, task, template, *limits, style=style, show_options=show_options)
            yield (fitted.prompt, fitted.cut_words) if isinstance(fitted, Fitted) else (None, 0)


def _row(prompt: Prompt) -> dict[str, Any]:
    if prompt.gold is None:
        return {"uid": prompt.uid, "input": prompt.input, "references": prompt.references}
    return {"uid": prompt.uid, "input": prompt.input, "options": prompt.options, "gold": prompt.gold}


def _metrics(task: Task, prompts: Sequence[Prompt]) -> list[str]:
    """Of those that the harness's file has: in scripts other than the Latin one it compares whole texts only."""
    if isinstance(task.card.answer, ChoiceAnswer):
        return ["acc"]
    latin = all(script(reference) == "latin" for prompt in prompts for reference in prompt.references)
    known = TEXT_METRICS if latin else WHOLE_TEXT_METRICS
    return [name for name in task.metrics if name in known] or ["exact_match"]


def _task_yaml(
    name: str,
    task: Task,
    template: Template,
    separator: str,
    style: Style,
    metrics: Sequence[str],
    max_new_tokens: int,
) -> str:
    """The harness's YAML. Its `!function` is no plain YAML and a line break reads badly in it: two lines by hand."""
    choice = isinstance(task.card.answer, ChoiceAnswer)
    config: dict[str, Any] = {
        "task": name,
        "tag": f"openflan_{task.name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": f"{name}.jsonl"},
        "test_split": "test",
        "num_fewshot": 0,
        "output_type": "multiple_choice" if choice else "generate_until",
        "doc_to_text": "input",
        "doc_to_target": "gold" if choice else "references",
        **({"doc_to_choice": "options"} if choice else {}),
        "metric_list": [
            {"metric": m, "aggregation": "bleu" if m == "bleu" else "mean", "higher_is_better": True} for m in metrics
        ],
        "metadata": {"version": 1, "task": task.name, "template": template.id, "style": style},
    }
    if not choice:
        stops = {"until": list(task.card.stop), "max_gen_toks": max_new_tokens, "do_sample": False}
        config["generation_kwargs"] = stops
    by_hand = f"class: !function {MODULE}.OpenFlanTask\ntarget_delimiter: {json.dumps(separator)}\n"
    return by_hand + yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
