"""Every error a user can cause, as one closed tree.

    OpenFlanError
    ├── CatalogError    a card, a template or a name that the catalogue does not hold
    ├── DataError       a row, a data file or a folder of rows
    ├── ConfigError     a recipe, a study or a command-line value
    ├── HoldOutError    training would see what the evaluation holds out
    ├── ModelError      a model folder, a tokenizer, or numbers that are not finite
    └── RunError        an output directory: taken, unwritable, damaged

Each message says where the problem is, what was found, what was expected and what to do. The command line prints it as
one paragraph and exits with 2; any other exception that reaches the user is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_CHARACTERS = 4_000  # of each part of a message: the rest helps nobody
MAX_NAME = 200  # a longer name is no slip of the keyboard


class OpenFlanError(Exception):
    """Base of the tree. `where` names the file, row, key or argument; `do` is one sentence that helps."""

    def __init__(self, where: object, found: str, expected: str, do: str = "") -> None:
        self.where = _shown(str(where))
        self.found = _shown(found)
        self.expected = _shown(expected)
        self.do = _shown(do)
        message = f"{self.where}: found {self.found}; expected {self.expected}."
        super().__init__(f"{message} {self.do}".rstrip())

    @classmethod
    def told(cls, message: str) -> OpenFlanError:
        """The same error again from its message, as another process wrote it down."""
        error = cls("", "", "")
        error.args = (message,)
        return error


def _shown(text: str) -> str:
    """As a terminal can show it: not endless, and half of a surrogate pair as its escape."""
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} ... ({len(text):,} characters)"


class CatalogError(OpenFlanError):
    """A card, a template or a name that the catalogue does not hold."""


class DataError(OpenFlanError):
    """A row, a data file or a folder of rows that is not what its card says."""


class ConfigError(OpenFlanError):
    """A recipe, a study or a command-line value that cannot be used."""


class HoldOutError(OpenFlanError):
    """Training would see what the evaluation holds out."""


class ModelError(OpenFlanError):
    """A model folder or tokenizer that cannot be used, or numbers that stopped being finite."""


class RunError(OpenFlanError):
    """An output directory that is taken, unwritable or damaged."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """One sentence with the nearest known names, or the whole list when it is short.

    >>> did_you_mean("rtee", ["rte", "cb"])
    'Did you mean rte?'
    """
    names = sorted(set(known))
    near = [] if len(name) > MAX_NAME else difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"Known: {shown}."
