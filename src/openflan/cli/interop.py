"""`openflan export` and `openflan import`: tasks in the forms that other tools read and write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openflan.cli.options import STYLES, Cards, DataRoot, Json, StyleName, check_known, own_cards
from openflan.errors import CatalogError
from openflan.files import read_yaml
from openflan.tasks.catalog import Catalog, load_catalog

if TYPE_CHECKING:
    from openflan.interop.new_card import Imported
    from openflan.tokens.codec import Codec
    from openflan.tokens.encode import Lengths

SPLITS = ("test", "dev", "train", "samples")
FORMATS = ("promptsource", "lm-eval", "natural-instructions")

exports = typer.Typer(help="Tasks for other tools to read.", no_args_is_help=True)


@exports.callback()
def _export() -> None:
    """Tasks for other tools to read."""


@exports.command("lm-eval")
def export_lm_eval(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write: give it as --include_path.")],
    task: Annotated[list[str], typer.Option(help="A task, as in `tasks list`; may be repeated.")],
    template: Annotated[
        list[str] | None, typer.Option(help="Only this template; may be repeated. `completion` is one, too.")
    ] = None,
    style: StyleName = STYLES[0],
    options: Annotated[bool, typer.Option(help="Show the options block in prompts.")] = True,
    split: Annotated[str, typer.Option(help=f"Which rows: {', '.join(SPLITS)}.")] = SPLITS[0],
    limit: Annotated[int, typer.Option(min=1, help="Rows of each task: those that `eval --limit` takes.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the sample of rows, as in `eval`.")] = 0,
    model: Annotated[
        str | None, typer.Option(help="Cut too long prompts as `eval` does for this model folder, or `base`.")
    ] = None,
    separator: Annotated[str, typer.Option(help="Text between prompt and answer.", show_default="a line break")] = "\n",
    data_root: DataRoot = None,
    catalog: Cards = None,
    as_json: Json = False,
) -> None:
    """Write tasks that lm-evaluation-harness runs with the log-probs and scores of `openflan eval`.

    Example: openflan export lm-eval tasks --task rte --template must-it-hold --data-root data
    """
    from openflan.evaluation.requests import draw_examples
    from openflan.evaluation.settings import EvalSettings
    from openflan.interop.export_lm_eval import export_lm_eval, wordings_to_export
    from openflan.tasks.adapt import load_examples, outcome

    check_known("--style", style, STYLES)
    check_known("--split", split, SPLITS)
    tasks = [load_catalog(catalog or ()).task(name) for name in dict.fromkeys(task)]
    wordings = {each.name: wordings_to_export(each, template or ()) for each in tasks}
    limits = _limits(model, separator) if model is not None else None
    done = []
    for each in tasks:
        rows, dropped = load_examples(each, split, data_root)  # type: ignore[arg-type]  # one of SPLITS
        for reason, count in dropped.items() if not as_json else ():
            print(f"{each.name}: {count:,} of {len(rows) + sum(dropped.values()):,} rows {outcome(reason)}")
        examples = draw_examples(rows, EvalSettings(max_examples_per_task=limit), seed, each.card.group_by)
        done += export_lm_eval(
            folder,
            each,
            wordings[each.name] if style == STYLES[0] else wordings[each.name][:1],
            examples,
            separator=separator,
            style=style,  # type: ignore[arg-type]  # one of STYLES
            show_options=options,
            limits=limits,
        )
    if as_json:
        print(json.dumps([{**asdict(one), "path": str(one.path)} for one in done], indent=1))
        return
    for one in done:
        print(f"{one.path}: {one.num_prompts:,} prompts" + _losses(one.num_cut, one.num_left_out, one.metrics_left_out))
    names = ",".join(f"openflan_{each.name}" for each in tasks)
    given = "--model hf --model_args pretrained=MODEL,dtype=float32"
    print(f"Next:\n  lm_eval {given} --include_path {folder} --tasks {names}")


def _losses(num_cut: int, num_left_out: int, metrics: Sequence[str]) -> str:
    parts = [f"{num_cut:,} cut to fit"] if num_cut else []
    parts += [f"{num_left_out:,} too long and left out"] if num_left_out else []
    parts += [f"without the metrics {', '.join(metrics)}"] if metrics else []
    return "".join(f", {part}" for part in parts)


def _limits(path: str, separator: str) -> tuple[Codec, Lengths]:
    """What evaluating that model cuts prompts by."""
    from openflan.models.folder import model_folder
    from openflan.models.settings import ModelSettings

    model_folder(path)  # a mistake is told before torch is loaded
    from openflan.models.load import load_model
    from openflan.study.run_one import limits

    settings = ModelSettings(path=path, separator=separator)
    model = load_model(settings, needs_packs=False)
    return model.codec, limits(settings, model.max_positions)


def import_card(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{', '.join(FORMATS)}.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A templates.yaml; one task's YAML; one task's JSON.")],
    cluster: Annotated[str, typer.Option(help="The kind of task, as in `tasks list`: what is held out together.")],
    name: Annotated[str | None, typer.Option(help="The task's name; made from the file's own when not given.")] = None,
    to: Annotated[Path, typer.Option(help="The folder that cards are written to.")] = Path("."),
    catalog: Cards = None,
    as_json: Json = False,
) -> None:
    """Make cards of another project's file: promptsource's wordings of a dataset (a card for each way of answering),
    a task or a group of lm-evaluation-harness, or a task of Natural Instructions with its rows.

    Example: openflan import lm-eval piqa.yaml --cluster commonsense --to my-cards
    """
    check_known("FORMAT", form, FORMATS)
    found = load_catalog(own_cards(catalog or ()))
    found.cluster(cluster)
    imported = _importer(form)(file, to, found, cluster=cluster, name=name)
    _tell(imported, _family(imported.cards[0], found) if imported.cards else "", file, as_json)


def _family(card: Path, catalog: Catalog) -> str:
    """Which tasks of the catalogue a new card is held out with, in words."""
    family = str(read_yaml(card, CatalogError)["family"])
    members = [task.name for task in catalog.tasks.values() if task.family == family]
    return f"{family}, held out with {', '.join(members)}" if members else "its own: no catalogue task has these rows"


def _importer(form: str) -> Callable[..., Imported]:
    if form == "promptsource":
        from openflan.interop.import_promptsource import import_promptsource

        return import_promptsource
    if form == "lm-eval":
        from openflan.interop.import_lm_eval import import_lm_eval

        return import_lm_eval
    from openflan.interop.import_natural_instructions import import_natural_instructions

    return import_natural_instructions


def _tell(imported: Imported, family: str, file: Path, as_json: bool) -> None:
    """What became of every template, and the cards' family; exit code 1 when no card could be made."""
    notes = [asdict(note) for note in imported.notes]
    if as_json:
        told = {"cards": [str(path) for path in imported.cards], "family": family, "notes": notes}
        print(json.dumps(told, indent=1))
    else:
        width = max((len(note.template) for note in imported.notes), default=0)
        for note in imported.notes:
            print(f"{note.template:<{width}}  {note.result:<12}  {note.reason}".rstrip())
        num_left = sum(note.result == "left out" for note in imported.notes)
        print(f"{', '.join(map(str, imported.cards)) or f'no card from {file}'} ({num_left} left out)")
        if imported.cards:
            print(f"family: {family}")
            print("Next:\n" + "".join(f"  openflan tasks check {path}\n" for path in imported.cards), end="")
    raise typer.Exit(0 if imported.cards else 1)
