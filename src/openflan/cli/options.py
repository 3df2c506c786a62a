"""Options that several commands share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openflan.errors import ConfigError, did_you_mean
from openflan.files import real_path
from openflan.tasks.catalog import CATALOG

if TYPE_CHECKING:
    from openflan.config import RunConfig

STYLES = ("instruction", "no_template", "dataset_name")

Cards = Annotated[
    list[Path] | None, typer.Option("--catalog", help="A card or a folder of cards of your own; may be repeated.")
]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", help="Folder with the rows: DIR/<task>/<split>.jsonl.gz, ...")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Directory of the run; the same one continues it.")]
StyleName = Annotated[str, typer.Option(help=f"{', '.join(STYLES)}: the wording, or only the fields.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change one setting: --set train.learning_rate=1e-4.")]
AllowOverlap = Annotated[
    str | None,
    typer.Option("--allow-overlap", metavar="REASON", help="Train on rows that show a held-out row, and record why."),
]
Recipe = Annotated[str, typer.Argument(help="A recipe (YAML), or the name of a packaged study such as `demo`.")]


def load_config(
    recipe: str,
    changes: Sequence[str] | None = None,
    data_root: Path | None = None,
    cards: Sequence[Path] | None = None,
    allow_overlap: str | None = None,
) -> RunConfig:
    """A recipe with what was given beside it on the command line."""
    from openflan.config import load_recipe

    given = list(changes or ())
    if data_root is not None:
        if not data_root.is_dir():
            raise ConfigError(data_root, "no folder", "a folder of rows", "Change --data-root.")
        given.append("data.root=" + json.dumps(str(data_root)))
    if cards:
        given.append("data.cards=" + json.dumps([str(path) for path in cards]))
    if allow_overlap is not None:
        given.append("mixture.allow_overlap=" + json.dumps(allow_overlap))
    return load_recipe(Path(recipe), given)


def own_cards(cards: Sequence[Path]) -> list[Path]:
    """Without the packaged cards, which are loaded anyhow, and without repetitions."""
    by_place = {real_path(path): path for path in cards}
    return [path for full, path in by_place.items() if real_path(CATALOG) not in (full, *full.parents)]


def check_known(option: str, given: str, known: Iterable[str]) -> None:
    """ConfigError for a word that is none of those known."""
    if given not in (words := list(known)):
        raise ConfigError(option, repr(given), f"one of {', '.join(words)}", did_you_mean(given, words))


def terminal_width() -> int | None:
    """How many columns there are to print in; None where nobody says: in a file or a pipe lines have any length."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal or os.environ.get("COLUMNS", "").isdigit() else None
