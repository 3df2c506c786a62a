"""Commands that show and compare recipes: no torch, no rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from openflan import files
from openflan.cli.options import Json, Recipe, Set
from openflan.config import RunConfig, load_recipe, read_recipe
from openflan.errors import RunError

app = typer.Typer(help="Recipes: every setting of one, and what differs between two.", no_args_is_help=True)


@app.command()
def show(recipe: Recipe, changes: Set = None, as_json: Json = False) -> None:
    """Print every setting of a recipe: its value, where that comes from, what it means. The output is a recipe itself.

    Example: openflan config show demo --set train.learning_rate=1e-4
    """
    from openflan.report.settings import settings_of, settings_yaml

    path, written = read_recipe(Path(recipe), changes or ())
    settings = settings_of(files.parse(RunConfig, written, path), written, changes or ())
    if not as_json:
        print(settings_yaml(settings), end="")
        return
    facts = {s.name: {"value": s.value, "from": s.origin, "meaning": s.meaning} for s in settings if not s.is_group}
    print(json.dumps(facts, indent=1))


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="A recipe, or the directory of a run.")],
    new: Annotated[str, typer.Argument(help="A recipe, or the directory of a run.")],
    as_json: Json = False,
) -> None:
    """Print the settings in which two recipes or runs differ, defaults included.

    Example: openflan config diff demo recipes/real-small.yaml
    """
    from openflan.report.settings import change_line, compare

    changes = compare(_values(old), _values(new))
    if as_json:
        print(json.dumps([{"setting": c.name, **c.sides} for c in changes], indent=1))
        return
    for change in changes:
        print(change_line(change))
    print("1 setting differs" if len(changes) == 1 else f"{len(changes) or 'no'} settings differ")


def _values(name: str) -> Any:
    """All settings of a recipe, or those that a run was made with, whichever version made it."""
    path = Path(name) / files.RUN
    if not path.is_file():
        return load_recipe(Path(name)).model_dump(mode="json")
    found = files.read_yaml(path, RunError)
    if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
        raise RunError(path, "no `config`", "the run.yaml of a run", "Name a recipe or the directory of a run.")
    return found["config"]
