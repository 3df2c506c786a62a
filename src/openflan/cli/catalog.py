"""Commands that look at the catalogue: no torch, no weights, no network."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from openflan.cli.options import Cards, DataRoot, Json, own_cards
from openflan.errors import CatalogError, DataError, did_you_mean
from openflan.files import real_path
from openflan.tasks.catalog import COLLECTIONS, FILL_IN, SLUG, USER, Task, load_catalog

if TYPE_CHECKING:
    from openflan.tasks.example import Example

REAL_SPLITS: tuple[Literal["train", "test", "dev"], ...] = ("train", "test", "dev")

app = typer.Typer(help="What can be trained and evaluated on.", no_args_is_help=True)


@app.command("list")
def list_tasks(
    cluster: Annotated[str | None, typer.Option(help="Only tasks of this cluster.")] = None,
    collection: Annotated[str | None, typer.Option(help="Only this collection: flan, world or user.")] = None,
    catalog: Cards = None,
    as_json: Json = False,
) -> None:
    """List tasks by cluster.

    Example: openflan tasks list --cluster sentiment
    """
    found = load_catalog(catalog or ())
    if cluster is not None:
        found.cluster(cluster)
    if collection not in (None, *COLLECTIONS, USER):
        hint = did_you_mean(collection, [*COLLECTIONS, USER])
        raise CatalogError("the catalogue", f"no collection {collection!r}", "a collection's name", hint)
    tasks = [t for t in found.tasks.values() if cluster in (None, t.cluster) and collection in (None, t.collection)]
    if as_json:
        print(json.dumps([_facts(task) for task in tasks], indent=1))
        return
    width = max([len(task.name) for task in tasks], default=0)
    for name in found.clusters:
        members = [task for task in tasks if task.cluster == name]
        if members:
            print(found.clusters[name].title)
        for task in members:
            kind = f"{len(task.templates):>2} templates, {task.card.answer.kind}"
            print(f"  {task.name:<{width}}  {task.collection:<6} {kind}")
    num_datasets, num_clusters = len({task.dataset for task in tasks}), len({task.cluster for task in tasks})
    print(f"{num_datasets} datasets in {num_clusters} clusters, {len(tasks)} tasks")


def _facts(task: Task) -> dict[str, object]:
    return {
        "name": task.name,
        "collection": task.collection,
        "cluster": task.cluster,
        "dataset": task.dataset,
        "family": task.family,
        "answer": task.card.answer.kind,
        "templates": [template.id for template in task.templates],
        "scored_templates": [template.id for template in task.scored_templates],
        "aliases": list(task.card.aliases),
        "derived_from": list(task.derived_from),
        "metrics": list(task.metrics),
        "group_by": list(task.card.group_by),
        "unit": list(task.card.unit),
        "licence": task.card.licence,
        "source": task.source.model_dump(mode="json", exclude_none=True),
    }


@app.command()
def show(name: str, catalog: Cards = None, as_json: Json = False) -> None:
    """Show one task: where its rows come from, what it answers, how it is asked.

    Example: openflan tasks show rte
    """
    task = load_catalog(catalog or ()).task(name)
    if as_json:
        print(json.dumps(_facts(task), indent=1))
        return
    for key, value in _facts(task).items():
        if value or key not in ("group_by", "unit"):
            print(f"{key.replace('_', ' '):<17}{_words(value)}")
    print(f"{'card':<17}{task.path}")


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The task's name: small letters, digits, _ and -.")],
    origin: Annotated[
        str, typer.Option("--from", help="A file of rows, a folder with files for the splits, or a hub dataset.")
    ],
    config: Annotated[str | None, typer.Option(help="Configuration of a hub dataset.")] = None,
    to: Annotated[Path, typer.Option(help="The folder that the card is written to.")] = Path("."),
    catalog: Cards = None,
) -> None:
    """Write a first card for a dataset of your own, guessed from the columns of its rows.

    Example: openflan tasks new reviews --from data/reviews.csv
    """
    from openflan import files
    from openflan.tasks.origin import open_origin
    from openflan.tasks.scaffold import card_text, columns_of, guess

    path = to / f"{name}.yaml"
    found = load_catalog(own_cards(catalog or ()))
    if not re.fullmatch(SLUG, name):
        raise CatalogError("tasks new", f"the name {name!r}", "small letters, digits, _ and -")
    if name in found.tasks:
        raise CatalogError("tasks new", f"the name {name!r}, which {found.tasks[name].path} has", "a name of its own")
    if path.exists():
        raise CatalogError(path, "a file that is there already", "a new name", "Move it away to make it anew.")
    source = open_origin(origin, name, config)
    guessed = guess(source.rows, columns_of(source.rows, source.shown))
    files.write_text(path, card_text(name, source.source, guessed, source.shown, list(found.clusters)))
    print(f"{path}: {guessed.answer['kind']} answer; templates may name {', '.join(guessed.fields) or 'no field'}")
    root = "" if source.data_root is None else f" --data-root {shlex.quote(str(source.data_root))}"
    steps = [
        f"fill in the places marked {FILL_IN}: ...> and correct what was guessed wrong",
        *([f"rename {source.move}"] if source.move else []),
        f"openflan tasks check {shlex.quote(str(path))}{root}",
        f"openflan preview {shlex.quote(str(path))}{root}",
    ]
    print("\n".join(["Next:", *(f"  {step}" for step in steps)]))


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Cards to check, or folders of cards; the whole catalogue if none.")
    ] = None,
    data_root: DataRoot = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows of each split to look at (default: all).")] = None,
    catalog: Cards = None,
) -> None:
    """Render every template on the card's samples, with --data-root on real rows too, and report what reads wrong.

    A metric that is unknown, or that cannot score the card's kind of answer or its references, is a finding,
    too. In a card made by `import`, findings of style are warnings: the exit code is 1 only where there is anything
    else.

    Example: openflan tasks check my-card.yaml --data-root data
    """
    from openflan.cli.progress import CountBar
    from openflan.evaluation.metrics import metric_problems
    from openflan.evaluation.self_check import metric_findings
    from openflan.templates.lint import Finding, lint

    wanted = {real_path(path) for path in files or ()}
    found = load_catalog(own_cards([*(files or ()), *(catalog or ())]))
    tasks = [t for t in found.tasks.values() if not wanted or wanted & {real_path(t.path), *real_path(t.path).parents}]
    cards = {task.path: task.card for task in tasks}
    problems = [f"{path}: {problem}" for path, card in cards.items() for problem in metric_problems(card)]
    lacking, num_prompts, num_warnings = [], 0, 0
    with CountBar("tasks") as bar:
        for number, task in enumerate(tasks):
            bar.update(number, len(tasks))
            examples, missing = _rows_to_check(task, data_root, limit)
            lacking += [f"{task.name} ({', '.join(missing)})"] if missing else []
            num_prompts += len(examples) * len(task.templates)
            findings = lint(task, examples)
            findings += [
                Finding(task.path, task.name, "", uid, problem, text)
                for problem, uid, text in metric_findings(task, examples)
            ]
            problems += map(str, findings)
            num_warnings += sum(finding.is_warning for finding in findings)
    for problem in problems:
        print(problem)
    if lacking:
        print(f"{len(lacking)} tasks without rows under {data_root}, checked on less: {', '.join(lacking)}")
    if data_root is not None:
        print(f"{num_prompts:,} prompts rendered")
    num_findings = len(problems) - num_warnings
    warnings = f", {num_warnings} warnings" if num_warnings else ""
    print(f"{len(tasks)} tasks checked, {num_findings} findings{warnings}")
    raise typer.Exit(1 if num_findings else 0)


def _rows_to_check(task: Task, data_root: Path | None, limit: int | None) -> tuple[list[Example], list[str]]:
    """The samples and, below a data root, all rows of all splits; and which of those splits are not there."""
    from openflan.tasks.adapt import load_examples, outcome
    from openflan.tasks.sources import has_rows

    examples, _ = load_examples(task, "samples")
    missing: list[str] = []
    for split in REAL_SPLITS if data_root is not None else ():
        if has_rows(task, split, data_root):
            try:
                rows, dropped = load_examples(task, split, data_root)
            except DataError as exc:
                if split == "dev" and exc.where == str(task.path):  # too few train rows to cut any: train has them all
                    continue
                raise
            examples += rows[:limit]
            for reason, count in dropped.items():
                total = len(rows) + sum(dropped.values())
                print(f"{task.name}: {count:,} of {total:,} {split} rows {outcome(reason)}")
        elif split == "test" or (split == "train" and task.source.splits.train is not None):
            missing.append(split)
    return examples, missing
