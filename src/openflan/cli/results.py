"""`openflan results`: evaluations that have been made, shown again and compared. No model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openflan.cli.eval import ByTemplate, MeanOf, Normalise, cluster_mean_of, normalisation_of, tell
from openflan.cli.options import Json
from openflan.errors import ConfigError

app = typer.Typer(help="Show and compare what `openflan eval` has found.", no_args_is_help=True)

Folders = Annotated[list[Path], typer.Argument(help="Directories of evaluations, or with evaluations below them.")]


@app.command()
def show(
    folders: Folders,
    normalisation: Normalise = "sum",
    cluster_mean: MeanOf = "tasks",
    by_template: ByTemplate = False,
    as_json: Json = False,
) -> None:
    """Print evaluations with intervals and baselines; of unfinished ones, how far they are.

    Example: openflan results show runs/eval --normalisation tokens
    """
    from openflan.study.results import find_evaluations

    normalise, mean = normalisation_of(normalisation), cluster_mean_of(cluster_mean)
    finished, unfinished = find_evaluations(folders)
    tell(finished, normalise, as_json, by_template, to_compare=False, left_out=unfinished, cluster_mean=mean)


@app.command()
def compare(
    folders: Folders, normalisation: Normalise = "sum", cluster_mean: MeanOf = "tasks", as_json: Json = False
) -> None:
    """Compare the first evaluation with each of the others, on the same rows and templates; not unfinished ones.

    Example: openflan results compare runs/eval/tuned-1 runs/eval/base-2
    """
    from openflan.study.results import find_evaluations

    mean = cluster_mean_of(cluster_mean)
    finished, unfinished = find_evaluations(folders)
    if len(finished) < 2:
        left_out = ", ".join(str(each.folder) for each in unfinished)
        found = f"one evaluation ({finished[0].folder})" + (f" and unfinished ones ({left_out})" if unfinished else "")
        raise ConfigError("results compare", found, "two or more", "Name two directories.")
    tell(finished, normalisation_of(normalisation), as_json, left_out=unfinished, cluster_mean=mean)
