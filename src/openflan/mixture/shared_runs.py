"""Runs of equal words in a batch of texts and an index of others, and which of them are boilerplate.

The index knows every run of `SEED_WORDS` words by its number (`ngrams.py`). Where one of a training text is found in
it, both texts are compared from there in both directions, so that a run is as long as it really is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openflan.mixture.ngrams import ngrams, num_words

SEED_WORDS = 8
WHOLE_WORDS = 10  # of a text that stands whole in another
RUN_WORDS = 13
LONG_WORDS = 30
MAX_TEXTS = 10
MAX_ON_ONE_SIDE = 30
_CONTINUATION = 3  # words beside a run that tell one place from another

CHUNK_CHARACTERS = 1 << 20  # looked at together
_SIEVE_BITS = 24


@dataclass(frozen=True, slots=True)
class Run:
    """Equal words in a text of ours and in one of the index, which has the number `text` there: the words, how many,
    the n-grams of the index that they consist of, and the words of our text before and after them ("" at its ends)."""

    words: str
    num_words: int
    text: int
    ngrams: tuple[int, ...]
    before: str
    after: str
    is_whole: bool
    """Whether it is all that one of the two texts says."""

    @property
    def may_be_common(self) -> bool:
        """Whether it may be boilerplate. A long run never is, and neither is a whole text that is not short."""
        return self.num_words < (RUN_WORDS if self.is_whole else LONG_WORDS)

    def counts(self, boilerplate: Set[int]) -> bool:
        """Whether it shows anything beside boilerplate: as many other n-grams as `RUN_WORDS` words have. A common word
        before or after a footer is none. A whole text needs one."""
        needed = 1 if self.is_whole else RUN_WORDS - SEED_WORDS + 1
        return not self.may_be_common or sum(ngram not in boilerplate for ngram in self.ngrams) >= needed


@dataclass(slots=True)
class _Surroundings:
    """Where an n-gram stands in a dataset: in how many texts and rows, and the words beside the run that it is in."""

    num_texts: int = 0
    num_rows: int = 0
    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)

    def are_many(self, num_rows_of_dataset: int) -> bool:
        fewer, more = sorted((len(self.before), len(self.after)))
        spread = fewer > MAX_TEXTS or more > MAX_ON_ONE_SIDE
        return self.num_texts > MAX_TEXTS and (spread or 2 * self.num_rows > num_rows_of_dataset)


def boilerplate(runs: Iterable[tuple[Run, int]], num_rows_of_dataset: int) -> set[int]:
    """The n-grams that are boilerplate in a dataset of so many rows: of all its runs, and the rows that show each.

    Such an n-gram stands in more than `MAX_TEXTS` texts, in runs that may be common, and these go on in many ways: more
    than `MAX_TEXTS` both before and after them, or more than `MAX_ON_ONE_SIDE` on one side. Or they are in more than
    half of the rows, as an instruction is.
    """
    found: defaultdict[int, _Surroundings] = defaultdict(_Surroundings)
    for run, num_rows in runs:
        for ngram in set(run.ngrams) if run.may_be_common else ():
            where = found[ngram]
            where.num_texts += 1
            where.num_rows += num_rows
            where.before.add(run.before)
            where.after.add(run.after)
    return {ngram for ngram, where in found.items() if where.are_many(num_rows_of_dataset)}


class TextIndex:
    """All n-grams of some texts that `normalise` made: the texts themselves, and 17 bytes for each different n-gram.

    `datasets` has the texts of each dataset with the number of rows that show them, and how many rows there are.
    """

    def __init__(self, datasets: Sequence[tuple[Mapping[str, int], int]]) -> None:
        self.texts = [text for texts, _ in datasets for text in texts]
        number, text, at = (np.concatenate(parts) for parts in zip(*_all_ngrams(self.texts), strict=True))
        order = np.argsort(number, kind="stable")  # stable: within one number, texts stay in their order
        first = np.flatnonzero(np.diff(number[order], prepend=~number[order[:1]]))
        self._number, self._text, self._at = (part[order[first]] for part in (number, text, at))
        self._short: defaultdict[int, list[list[str]]] = defaultdict(list)  # by their first n-gram
        self._text_of_short: dict[str, int] = {}
        for i in np.flatnonzero(at == 0).tolist():
            if WHOLE_WORDS <= num_words(short := self.texts[text[i]]) < RUN_WORDS:
                self._short[int(np.searchsorted(self._number, number[i]))].append(short.split())
                self._text_of_short[short] = int(text[i])
        self._begins_short = np.zeros(self._number.size, dtype=np.bool_)
        self._begins_short[list(self._short)] = True
        # Most n-grams of a training row are nowhere here, and one look into this table shows it.
        self._sieve = np.zeros(1 << _SIEVE_BITS, dtype=np.bool_)
        self._sieve[_sieve_index(self._number)] = True
        self.boilerplate = self._repeated(datasets, number, text, at, order, first)
        """The n-grams that are boilerplate in one of the datasets."""

    def runs(self, texts: Sequence[str]) -> Iterator[tuple[int, Run]]:
        """What each text has in common with the texts of the index, with its number: runs of `RUN_WORDS` or more words,
        and those of `WHOLE_WORDS` or more that are the whole of either text."""
        ours = ngrams(texts, SEED_WORDS)
        hits, theirs = self.find(ours.number)
        if not hits.size:
            return
        first_of_text = np.searchsorted(ours.text, np.arange(len(texts) + 1))
        begins = np.flatnonzero((np.diff(hits, prepend=-2) != 1) | (np.diff(ours.text[hits], prepend=-1) != 0))
        ends = np.append(begins[1:], hits.size)
        text = ours.text[hits[begins]]
        whole = ends - begins == first_of_text[text + 1] - first_of_text[text]
        short = np.logical_or.reduceat(self._begins_short[theirs], begins)
        for i in np.flatnonzero((ends - begins > RUN_WORDS - SEED_WORDS) | whole | short).tolist():
            number = int(text[i])
            places = (hits[begins[i] : ends[i]] - first_of_text[number]).tolist()
            words = texts[number].split()
            for run in self._compared(words, dict(zip(places, theirs[begins[i] : ends[i]].tolist(), strict=True))):
                yield number, run

    def find(self, numbers: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of `numbers` are those of n-grams of the index, and of which."""
        maybe = np.flatnonzero(self._sieve[_sieve_index(numbers)])
        places = np.searchsorted(self._number, numbers[maybe])
        places[places == self._number.size] = 0
        hits = self._number[places] == numbers[maybe] if self._number.size else places > 0
        return maybe[hits], places[hits]

    def _compared(self, words: list[str], found: Mapping[int, int]) -> Iterator[Run]:
        """The runs in one of our texts, where these n-grams of the index begin at these words of it."""
        covered = 0
        for at, ngram in found.items():
            for short in self._short.get(ngram, ()):
                if words[at : at + len(short)] == short:
                    yield _run(words, at, at + len(short), self._text_of_short[" ".join(short)], found, True)
            if at + SEED_WORDS > covered:
                text = int(self._text[ngram])
                theirs = self.texts[text].split()
                begin, end = _common(words, at, theirs, int(self._at[ngram]))
                if end - begin >= SEED_WORDS:  # numbers may be equal by accident
                    run = _run(words, begin, end, text, found, end - begin in (len(words), len(theirs)))
                    if run.num_words >= (WHOLE_WORDS if run.is_whole else RUN_WORDS):
                        covered = end
                        yield run

    def _repeated(
        self,
        datasets: Sequence[tuple[Mapping[str, int], int]],
        number: NDArray[np.uint64],
        text: NDArray[np.int32],
        at: NDArray[np.int32],
        order: NDArray[np.intp],
        first: NDArray[np.intp],
    ) -> set[int]:
        """The boilerplate of the indexed texts: of n-grams in more than `MAX_TEXTS` texts, in runs of such."""
        new_text = np.diff(text[order], prepend=-1) != 0
        new_text[first] = True
        often = np.add.reduceat(new_text, first) > MAX_TEXTS if first.size else first > 0
        if not often.any():
            return set()
        which = np.searchsorted(self._number[often], number)
        which[which == np.sum(often)] = 0
        places = np.flatnonzero(self._number[often][which] == number)
        ngram_at = np.flatnonzero(often)[which[places]]
        begins = np.flatnonzero((np.diff(places, prepend=-2) != 1) | (at[places] == 0))
        dataset = np.repeat(np.arange(len(datasets)), [len(texts) for texts, _ in datasets])
        runs: defaultdict[int, list[tuple[Run, int]]] = defaultdict(list)
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), places.size], strict=True):
            here = int(text[places[begin]])
            words, start = self.texts[here].split(), int(at[places[begin]])
            found = dict(enumerate(ngram_at[begin:end].tolist(), start))
            of, name = int(dataset[here]), self.texts[here]
            run = _run(words, start, start + end - begin + SEED_WORDS - 1, here, found, False)
            runs[of].append((run, datasets[of][0][name]))
        return {ngram for of, some in runs.items() for ngram in boilerplate(some, datasets[of][1])}


def is_long(text: str) -> bool:
    """Whether a text that `normalise` made has so many words that it is never boilerplate."""
    return num_words(text) >= LONG_WORDS


def _run(words: list[str], begin: int, end: int, text: int, found: Mapping[int, int], is_whole: bool) -> Run:
    """The words `begin` to `end`, and those of the n-grams `found` that lie within."""
    shared = " ".join(words[begin:end])
    inside = tuple(found[at] for at in range(begin, end - SEED_WORDS + 1) if at in found)
    before = " ".join(words[max(0, begin - _CONTINUATION) : begin])
    after = " ".join(words[end : end + _CONTINUATION])
    return Run(shared, num_words(shared), text, inside, before, after, is_whole)


def _common(ours: list[str], i: int, theirs: list[str], j: int) -> tuple[int, int]:
    """The longest run of equal words around `ours[i]` and `theirs[j]`: where it begins and ends in `ours`."""
    begin = end = i
    while begin and begin - i + j and ours[begin - 1] == theirs[begin - i + j - 1]:
        begin -= 1
    while end < len(ours) and end - i + j < len(theirs) and ours[end] == theirs[end - i + j]:
        end += 1
    return begin, end


def _all_ngrams(texts: Sequence[str]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Number, text and place in the text, in words, of all n-grams, so many texts at a time that memory stays small."""
    num_texts = 0
    while True:
        chunk, num_characters = [], 0
        for text in texts[num_texts:]:
            chunk.append(text)
            num_characters += len(text)
            if num_characters >= CHUNK_CHARACTERS:
                break
        found = ngrams(chunk, SEED_WORDS)
        at = np.arange(found.text.size) - np.searchsorted(found.text, found.text)
        yield found.number, (found.text + num_texts).astype(np.int32), at.astype(np.int32)
        num_texts += len(chunk)
        if num_texts == len(texts):
            return


def _sieve_index(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return numbers >> np.uint64(64 - _SIEVE_BITS)
