"""The same text in training and in held-out rows: the last gate, for what names and provenance do not tell.

A training row overlaps with a held-out row when, after normalisation,

* `text`: their whole texts are equal and have at least `MIN_WORDS_WHOLE` words, or the whole text of one is a field of
  the other and has `MIN_WORDS_BESIDE`. The fields of a row are compared as a set, so that neither their names nor their
  order hide a leak (premise and hypothesis swapped, `question` renamed);
* `field`: one field, option or reference of each is equal and has at least `SEED_WORDS` words: a shared passage, a
  question;
* `ngram`: any `RUN_WORDS` words in a row of one such text stand in one of the other's, or a whole text of `WHOLE_WORDS`
  or more stands in the other. Where all fields of a row are shorter than `RUN_WORDS`, they count joined, too. Thirteen
  words in a row are the usual measure of contamination since GPT-3 (Brown et al. 2020, appendix C), which takes fewer,
  down to 8, for datasets of short texts.

Two things are language and not a leak. Words that stand in many texts of a dataset and go on in many ways, or are in
most of its rows, are boilerplate (`shared_runs.boilerplate`): they do not count, and neither do a few words beside
them, though equal texts do. A field that is the same in more than half of a dataset's rows, and in more than
`MAX_TEXTS` of them, is an instruction: it does not count by itself. Both are counted. Neither holds for `LONG_WORDS`
equal words in a row, which always count. Shorter common texts ("yes", "Is it true?", a name) are not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

from openflan.mixture.ngrams import normalise, num_words
from openflan.mixture.shared_runs import (
    CHUNK_CHARACTERS,
    MAX_TEXTS,
    RUN_WORDS,
    SEED_WORDS,
    Run,
    TextIndex,
    boilerplate,
    is_long,
)
from openflan.tasks.example import Choice, Example, checked

MIN_WORDS_WHOLE = 5
MIN_WORDS_BESIDE = 6  # of a whole text that is one field of several in another row

Kind = Literal["text", "field", "ngram"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training row that shows a held-out text. `text` is what they share, normalised."""

    train_uid: str
    held_out_uid: str
    text: str
    kind: Kind


def find_overlap(train: Iterable[Example], held_out: Iterable[Example]) -> list[Overlap]:
    """The training rows whose text also stands in a held-out row, each once, dataset by dataset.

    When several held-out rows hold a text, the first of them is named; when a row overlaps in several ways, the first
    of `text`, `field`, `ngram`. The rows of one dataset must stand together.

    >>> from openflan.tasks.example import Choice
    >>> yes = Choice(("yes", "no"), 0)
    >>> train = [Example("a/train/0", "a", {"text": "Tom has a red kite."}, yes),
    ...          Example("a/train/1", "a", {"text": "Ann has a red kite."}, yes)]
    >>> held_out = [Example("b/test/7", "b", {"sentence": "Ann has a RED kite!"}, yes)]
    >>> find_overlap(train, held_out)
    [Overlap(train_uid='a/train/1', held_out_uid='b/test/7', text='ann has a red kite', kind='text')]
    """
    texts = HeldOutTexts(checked(held_out))
    found: list[Overlap] = []
    for _, rows in groupby(checked(train), key=lambda example: example.task):
        scan = Scan(texts)
        for example in rows:
            scan.add(example)
        found += scan.overlaps()
    return found


class HeldOutTexts:
    """The texts of all held-out rows, ready to be met by training rows: the one thing that the gate keeps in memory."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self.rows: dict[str, str] = {}  # whole text: the first uid that has it
        self.short_fields: dict[str, str] = {}  # a field too short for `fields`: the first uid that has it
        self.fields: dict[str, str] = {}  # a long text: the first uid that has it
        datasets = [self._add_dataset(rows) for _, rows in groupby(examples, key=lambda example: example.task)]
        self.index = TextIndex(datasets)
        self.num_boilerplate = len(self.index.boilerplate)

    def _add_dataset(self, examples: Iterable[Example]) -> tuple[dict[str, int], int]:
        """The long texts that are new, with the number of rows that show them, and the number of rows."""
        num_rows = 0
        times: Counter[str] = Counter()
        first: dict[str, str] = {}
        for example in examples:
            num_rows += 1
            texts = texts_of(example)
            if texts.whole:
                self.rows.setdefault(texts.whole, example.uid)
            for text in texts.short:
                self.short_fields.setdefault(text, example.uid)
            several = {*texts.long, *texts.joined}
            times.update(several)
            for text in sorted(several):
                first.setdefault(text, example.uid)
        new = {
            text: times[text]
            for text in first
            if text not in self.fields and not _is_instruction(text, times[text], num_rows)
        }
        self.fields |= {text: first[text] for text in new}
        return new, num_rows


@dataclass(slots=True)
class _Suspect:
    """A text of the training dataset that shares something: what, and the rows that show it."""

    equal: bool
    runs: list[Run] = field(default_factory=list)
    rows: list[tuple[int, str]] = field(default_factory=list)


class Scan:
    """One training dataset on its way past the held-out texts. Rows are added one by one and not kept."""

    def __init__(self, held_out: HeldOutTexts) -> None:
        self._held_out = held_out
        self._num_rows = 0
        self._whole: list[tuple[int, Overlap]] = []
        self._suspects: dict[str, _Suspect] = {}
        self._waiting: dict[str, list[tuple[int, str]]] = {}
        self._num_characters = 0
        self.num_boilerplate = 0
        """Held-out n-grams that do not count because they are boilerplate in this dataset; after `overlaps`."""

    def add(self, example: Example) -> None:
        """The next row of the dataset."""
        whole, short, long, joined = texts_of(example)
        for text in (whole, *short):
            uid = self._held_out.rows.get(text) or (self._held_out.short_fields.get(text) if text == whole else None)
            if uid:
                self._whole.append((self._num_rows, Overlap(example.uid, uid, " ".join(text.split("\n")), "text")))
                break
        for text in (*long, joined[0]) if joined else long:
            self._waiting.setdefault(text, []).append((self._num_rows, example.uid))
            self._num_characters += len(text)
        self._num_rows += 1
        if self._num_characters >= CHUNK_CHARACTERS:
            self._look()

    def overlaps(self) -> list[Overlap]:
        """What was found in all rows, in their order."""
        self._look()
        runs = [(run, len(each.rows)) for each in self._suspects.values() for run in each.runs]
        common = boilerplate(runs, self._num_rows)
        self.num_boilerplate = len(common)
        common |= self._held_out.index.boilerplate
        found: dict[int, Overlap] = dict(self._whole)
        for equal in (True, False):
            for text, suspect in self._suspects.items():
                run = next((run for run in suspect.runs if run.counts(common)), None)
                instruction = _is_instruction(text, len(suspect.rows), self._num_rows)
                if suspect.equal != equal or not (equal or run) or instruction:
                    continue
                same = text if equal or run is None else self._held_out.index.texts[run.text]
                words = text if equal or run is None else " ".join(run.words.split()[:RUN_WORDS])
                for row, uid in suspect.rows:
                    overlap = Overlap(uid, self._held_out.fields[same], words, "field" if equal else "ngram")
                    found.setdefault(row, overlap)
        return [found[row] for row in sorted(found)]

    def _look(self) -> None:
        """Look the waiting texts up. A text that was suspect before is not looked at again."""
        texts = [text for text in self._waiting if text not in self._suspects]
        for text in texts:
            if text in self._held_out.fields:
                self._suspects[text] = _Suspect(equal=True)
        for number, run in self._held_out.index.runs(texts):
            self._suspects.setdefault(texts[number], _Suspect(equal=False)).runs.append(run)
        for text, rows in self._waiting.items():
            if text in self._suspects:
                self._suspects[text].rows += rows
        self._waiting, self._num_characters = {}, 0


class Texts(NamedTuple):
    """What a row shows, normalised."""

    whole: str
    """Its fields, a line each, sorted; "" when they are too short."""
    short: tuple[str, ...]
    """Those of several fields that are too short for `long`, but long enough to be the whole of a row."""
    long: list[str]
    """Its long fields, options and references."""
    joined: tuple[str, ...]
    """Where it has several fields and all are short: these joined, in their order and the other way round."""


def texts_of(example: Example) -> Texts:
    given = [normalise(f if isinstance(f, str) else " ".join(f)) for f in example.fields.values()]
    fields = sorted({*given} - {""})
    lengths = [num_words(text) for text in fields]
    total = sum(lengths)
    long = {text for text, length in zip(fields, lengths, strict=True) if length >= SEED_WORDS}
    short: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    if len(fields) > 1:
        if len(long) < len(fields):
            pairs = zip(fields, lengths, strict=True)
            short = tuple(text for text, length in pairs if MIN_WORDS_BESIDE <= length < SEED_WORDS)
        if total >= SEED_WORDS and max(lengths) < RUN_WORDS:
            joined = (" ".join(filter(None, given)), " ".join(filter(None, reversed(given))))
    answers = example.answer.options if isinstance(example.answer, Choice) else example.answer.references
    for answer in answers:
        if len(answer) >= 2 * SEED_WORDS - 1 and num_words(text := normalise(answer)) >= SEED_WORDS:
            long.add(text)
    return Texts("\n".join(fields) if total >= MIN_WORDS_WHOLE else "", short, sorted(long), joined)


def _is_instruction(text: str, num_rows: int, num_rows_of_dataset: int) -> bool:
    return num_rows > MAX_TEXTS and 2 * num_rows > num_rows_of_dataset and not is_long(text)
