"""Commands that make something: models, evaluations, reports. torch is loaded only where weights are."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openflan import files
from openflan.cli.options import AllowOverlap, Cards, DataRoot, Json, Out, Recipe, Set, load_config
from openflan.environment import launched_as
from openflan.errors import RunError
from openflan.finished import check_file

if TYPE_CHECKING:
    from openflan.config import RunConfig
    from openflan.study.compare import StudyResults


def demo(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Directory of the run (default: runs/demo).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the work: shows the path, not a result.")] = False,
    as_json: Json = False,
) -> None:
    """Run FLAN's experiment in miniature: hold out three clusters in turn, tune on the rest, compare with the untuned.

    Example: openflan demo --out runs/demo
    """
    launched_as()  # before anything is read: what a launcher says must fit together
    changes = [f"seed={seed}"]
    if quick:
        changes += ["mixture.num_examples=250", "evaluation.max_examples_per_task=20"]
    name = "demo" + ("-quick" if quick else "") + (f"-seed{seed}" if seed else "")
    _study(load_config("demo", changes), out or Path("runs") / name, as_json)


def run(
    recipe: Recipe,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory of the run (default: runs/<name>).")
    ] = None,
    changes: Set = None,
    allow_overlap: AllowOverlap = None,
    data_root: DataRoot = None,
    catalog: Cards = None,
    as_json: Json = False,
) -> None:
    """Run a whole recipe: plan, tune, evaluate the tuned model and its untuned self, and write the report.

    Example: openflan run recipes/real-small.yaml --data-root data
    """
    launched_as()
    config = load_config(recipe, changes, data_root, catalog, allow_overlap)
    _study(config, out or Path("runs") / config.name, as_json)


def pretrain(
    recipe: Annotated[Path, typer.Argument(help="A pretraining recipe (YAML).")],
    out: Out,
    corpus: Annotated[Path | None, typer.Option(help="Text file that replaces the recipe's corpus.")] = None,
) -> None:
    """Make a base model from plain text.

    Example: openflan pretrain recipes/base.yaml --out runs/base
    """
    from openflan.cli.progress import TrainingBar
    from openflan.training.pretrain import PretrainRecipe
    from openflan.training.pretrain import pretrain as make

    launched_as()
    value = files.read_yaml(recipe)
    if corpus is not None and isinstance(value, dict):
        value["corpus"] = corpus
    settings = files.parse(PretrainRecipe, value, recipe)
    with TrainingBar(settings.num_updates) as bar:
        print(make(settings, out, bar.update))


def train(
    recipe: Recipe,
    out: Out,
    changes: Set = None,
    allow_overlap: AllowOverlap = None,
    data_root: DataRoot = None,
    catalog: Cards = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Processes that share each training: GPUs, or cores.")
    ] = None,
) -> None:
    """Only tune: one model for each cluster that the recipe holds out, as Hugging Face folders.

    On several machines start it with torchrun or accelerate launch, as `-m openflan.cli.main train`.

    Example: openflan train demo --out runs/tuned --processes 2
    """
    from openflan.cli.progress import JobBars
    from openflan.report.model_card import write_model_card
    from openflan.study.execute import train_study
    from openflan.study.job import rank

    launched_as()
    given = [*(changes or ()), *([f"train.num_processes={processes}"] if processes else ())]
    config = load_config(recipe, given, data_root, catalog, allow_overlap)
    with JobBars() as bars:
        folders = train_study(config, out, bars.show)
    if rank() == 0:
        for folder in folders:
            write_model_card(folder)
            print(folder)


def report(run_directory: Annotated[Path, typer.Argument(help="Directory of a finished run.")]) -> None:
    """Write report.html again from a run's results.json.

    Example: openflan report runs/demo
    """
    from openflan.report.page import write_report
    from openflan.study.compare import StudyResults

    path = run_directory / files.RESULTS
    if not path.is_file():
        raise RunError(run_directory, "no results.json", "the directory of a finished run", "Finish the run first.")
    results = StudyResults.from_json(files.read_json(path), path)
    check_file(run_directory, files.RESULTS, "Repeat the command of the run: it makes its results anew.")
    write_report(results, run_directory / files.REPORT)
    print(run_directory / files.REPORT)


def _study(config: RunConfig, out: Path, as_json: bool) -> None:
    from openflan.cli.progress import JobBars
    from openflan.report.model_card import write_model_card
    from openflan.report.page import write_report
    from openflan.study.execute import run_study

    with JobBars() as bars:
        results = run_study(config, out, shlex.join(["openflan", *sys.argv[1:]]), bars.show)
    for folder in sorted(out.glob(f"*/*/{files.MODEL}")):
        write_model_card(folder)
    write_report(results, out / files.REPORT)
    _show(results, out, as_json)


def _show(results: StudyResults, out: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps(results.to_json()))
        return
    from rich.console import Console

    from openflan.report.tables import results_table

    Console().print(results_table(results))
    print(f"Results: {out / files.RESULTS}\nReport:  {out / files.REPORT}")
