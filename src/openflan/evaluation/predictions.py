"""What a model answered to one prompt: the record between scoring with the model and everything that counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openflan import files
from openflan.errors import DataError, RunError
from openflan.finished import CHECK
from openflan.streams import fingerprint

_OPTIONAL = {"prior_logprobs", "group", "unit", "num_exemplars", "num_cut_words", "at_limit", "unscored"}


@dataclass(frozen=True, slots=True)
class Prediction:
    """One example with one template, answered by one model.

    A choice task fills `gold` (index from 0), `logprobs` (per option, summed over its tokens, in nats, computed in
    fp32), `num_tokens` and `num_bytes` (per option; UTF-8 bytes). A free-text task fills `text` and `references`.
    `logprobs` may hold values that are not finite: the record stores what the model said, `metrics` refuses to score
    it. The others may be left out, and are then left out of the JSON form, too: `prior_logprobs`, the log-prob of each
    option without the prompt, which PMI and the option-prior baseline need; `group`, what the example is a part of
    (MultiRC's question, of which every example judges one answer); `unit`, what it shares with others, such as a
    passage: examples of one unit are no independent observations; `num_exemplars` and `num_cut_words`, how many solved
    examples the prompt has and how many words it lost to fit; `at_limit`, whether the text was still going on after the
    last token allowed; `unscored`, why there is neither an option's log-prob nor a text.
    """

    uid: str
    task: str
    template: str
    gold: int | None
    logprobs: tuple[float, ...]
    num_tokens: tuple[int, ...]
    num_bytes: tuple[int, ...]
    text: str | None
    references: tuple[str, ...]
    prior_logprobs: tuple[float, ...] = ()
    group: str = ""
    unit: str = ""
    num_exemplars: int = 0
    num_cut_words: int = 0
    at_limit: bool = False
    unscored: str = ""

    def __post_init__(self) -> None:
        num_options = len(self.logprobs)
        if not len(self.num_tokens) == len(self.num_bytes) == num_options:
            found = f"{num_options} log-probs, {len(self.num_tokens)} token and {len(self.num_bytes)} byte counts"
            raise RunError(self.where, found, "one of each per option")
        if self.prior_logprobs and len(self.prior_logprobs) != num_options:
            found = f"{len(self.prior_logprobs)} prior log-probs of {num_options} options"
            raise RunError(self.where, found, "one for each option, or none at all")
        if self.gold is not None and not 0 <= self.gold < num_options:
            raise RunError(self.where, f"gold {self.gold} of {num_options} options", "an index of an option")

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, uid and template: what must be equal for two arms to be compared pair by pair."""
        return self.task, self.uid, self.template

    @property
    def resampled(self) -> str:
        """What stands or falls together where test rows are drawn again: the unit, else the group, else the row."""
        return self.unit or self.group or self.uid

    @property
    def where(self) -> str:
        """How errors name this prediction."""
        return f"{self.uid}, template {self.template}"

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values, one line of a predictions file."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value or name not in _OPTIONAL
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Prediction:
        """Read one line of a predictions file. Unknown, missing or mistyped keys raise RunError."""
        names = {field.name for field in dataclasses.fields(cls)}
        required = names - _OPTIONAL
        where = f"the prediction of {value.get('uid', 'an unnamed example')}"
        wrong = sorted((required - set(value)) | (set(value) - names))
        if wrong:
            found = f"keys missing or unknown: {', '.join(wrong)}"
            raise RunError(
                where, found, f"exactly {', '.join(sorted(required))}, perhaps {', '.join(sorted(_OPTIONAL))}"
            )
        try:
            return cls(
                uid=str(value["uid"]),
                task=str(value["task"]),
                template=str(value["template"]),
                gold=None if value["gold"] is None else int(value["gold"]),
                logprobs=tuple(float(number) for number in value["logprobs"]),
                num_tokens=tuple(int(number) for number in value["num_tokens"]),
                num_bytes=tuple(int(number) for number in value["num_bytes"]),
                text=None if value["text"] is None else str(value["text"]),
                references=tuple(str(text) for text in value["references"]),
                prior_logprobs=tuple(float(number) for number in value.get("prior_logprobs", ())),
                group=str(value.get("group", "")),
                unit=str(value.get("unit", "")),
                num_exemplars=int(value.get("num_exemplars", 0)),
                num_cut_words=int(value.get("num_cut_words", 0)),
                at_limit=bool(value.get("at_limit", False)),
                unscored=str(value.get("unscored", "")),
            )
        except (TypeError, ValueError, OverflowError) as exc:
            raise RunError(where, f"a value of the wrong kind ({exc})", "a prediction as `eval` writes it") from exc


def line_of(prediction: Prediction, identity: str) -> dict[str, Any]:
    """A line of a predictions file. `identity` stands for all that decides the predictions in it: with the line itself
    it makes `check`, by which a line that was changed, or made for something else, is known."""
    value = prediction.to_json()
    return {**value, CHECK: _check(value, identity)}


def read_predictions(store: Path, identity: str | None = None) -> Iterator[Prediction]:
    """The predictions of a store, none where there is no such file: those of all processes that wrote to it.

    A half line at a file's end, left by a killed writer or just being written, is passed over. RunError for a damaged
    file and, where the `identity` is given, for a line that is not as it was written for it.
    """
    for path in (store, *sorted(store.parent.glob(f"{store.stem}.rank*{store.suffix}"))):
        do = f"Put {path.name} back, or remove it and repeat the command: its predictions are made anew."
        try:
            for row in files.read_jsonl(path, still_written=True) if path.is_file() else ():
                check = row.pop(CHECK, None)
                if identity is not None and check != _check(row, identity):
                    found = f"a line ({row.get('uid')}) that was changed, or made with another model or settings"
                    raise RunError(path, found, "the predictions as they were made", do)
                yield Prediction.from_json(row)
        except DataError as exc:
            raise RunError(exc.where, exc.found, "the predictions as they were made", do) from exc


def _check(value: dict[str, Any], identity: str) -> str:
    return fingerprint([identity, value])[:8]


def file_of_rank(store: Path, rank: int) -> Path:
    """Where one of several processes appends its predictions: `test.jsonl`, `test.rank1.jsonl`, ..."""
    return store if rank == 0 else store.with_suffix(f".rank{rank}{store.suffix}")
