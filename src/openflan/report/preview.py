"""What `openflan preview` shows: prompts, and with a tokenizer the ids that training sees; as text or as a page."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openflan.report import html
from openflan.templates.render import Prompt

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class Token:
    """One id of a training sequence, what it stands for, and whether the loss counts it."""

    id: int
    piece: str
    supervised: bool

    @property
    def ends_line(self) -> bool:
        return self.piece.endswith("\n")


@dataclass(frozen=True, slots=True)
class Preview:
    """One prompt. `tokens` is empty where no tokenizer was given, or where training would drop the row; `notes` say
    what a reader would not see otherwise."""

    prompt: Prompt
    inverted: bool
    tokens: tuple[Token, ...]
    notes: tuple[str, ...]

    @property
    def heading(self) -> str:
        return f"{self.prompt.uid} · {self.prompt.template}" + (
            " (inverted: trained, never scored)" if self.inverted else ""
        )

    @property
    def num_supervised(self) -> int:
        return sum(token.supervised for token in self.tokens)


def preview_text(preview: Preview) -> Text:
    """For a terminal: the prompt, `>>>` and the target; below them every id with its piece, supervised ones in green.

    Control characters in a dataset's text are spelled out, so that they cannot steer the terminal.
    """
    from rich.text import Text  # loaded for this command only

    shown = Text()
    shown.append(f"--- {_plain(preview.heading)}\n", style="bold")
    shown.append(f"{_plain(preview.prompt.input)}\n")
    shown.append(f">>> {_plain(preview.prompt.target)}\n", style="green")
    for note in preview.notes:
        shown.append(f"note: {_plain(note)}\n", style="yellow")
    if preview.tokens:
        before, after = len(preview.tokens) - preview.num_supervised, preview.num_supervised
        for supervised, title in ((False, f"{before} ids of the prompt"), (True, f"{after} ids supervised")):
            shown.append(f"{title}: ", style="bold")
            for token in preview.tokens:
                if token.supervised == supervised:
                    piece = json.dumps(token.piece, ensure_ascii=False)
                    shown.append(f" {token.id} ", style="dim")
                    shown.append(_plain(piece), style="bold green" if supervised else "cyan")
            shown.append("\n")
    return shown


def preview_html(previews: Sequence[Preview], title: str) -> str:
    """One page that needs nothing else. Everything that came from a dataset, a card or a tokenizer is escaped."""
    return html.environment().get_template("preview.html.j2").render(title=title, previews=previews)


def _plain(text: str) -> str:
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)
