"""`openflan results`: evaluations that have been made, shown again and compared. No model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openflan.cli.eval import ByTemplate, Normalise, normalisation_of, tell
from openflan.cli.options import Json
from openflan.errors import ConfigError

app = typer.Typer(help="Show and compare what `openflan eval` has found.", no_args_is_help=True)

Folders = Annotated[list[Path], typer.Argument(help="Directories of evaluations, or with evaluations below them.")]


@app.command()
def show(
    folders: Folders, normalisation: Normalise = "sum", by_template: ByTemplate = False, as_json: Json = False
) -> None:
    """Print evaluations with intervals and baselines.

    Example: openflan results show runs/eval --normalisation tokens
    """
    from openflan.study.results import find_evaluations

    tell(find_evaluations(folders), normalisation_of(normalisation), as_json, by_template, to_compare=False)


@app.command()
def compare(folders: Folders, normalisation: Normalise = "sum", as_json: Json = False) -> None:
    """Compare the first evaluation with each of the others, on the same rows and templates.

    Example: openflan results compare runs/eval/tuned-1 runs/eval/base-2
    """
    from openflan.study.results import find_evaluations

    found = find_evaluations(folders)
    if len(found) < 2:
        places = ", ".join(str(each.folder) for each in found)
        raise ConfigError("results compare", f"one evaluation ({places})", "two or more", "Name two directories.")
    tell(found, normalisation_of(normalisation), as_json)
