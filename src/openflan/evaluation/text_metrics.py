"""Compares a generated text with a reference: functions of two texts to a credit in 0-1, and BLEU's counts.

Each follows the script that the field reports its numbers with; the tests hold literal cases of those scripts.
"""

from __future__ import annotations

import functools
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from openflan.tasks.words import script, split, words

Comparison = Callable[[str, str], float]

NO_ANSWER = "unanswerable"  # what the cards' row functions make of a question that the passage does not answer
SPAN_SEPARATOR = ", "  # what they join the spans of one DROP answer with

CACHED_TEXTS = 100_000  # scores, task scores and differences meet every text again


def normalise(text: str) -> str:
    """SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no ASCII punctuation, no articles, single spaces.

    >>> normalise("The  Eiffel-Tower, in a park.")
    'eiffeltower in park'
    """
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _comparable(text: str, reference: str) -> tuple[str, str]:
    """Both normalised; where that leaves nothing of the reference ("A", "?"), with as much kept as it takes."""
    if normalise(reference) or not reference.strip():
        return normalise(text), normalise(reference)
    return _or_as_written(text), _or_as_written(reference)


def _or_as_written(text: str) -> str:
    """Normalised but for articles; what is punctuation alone, as it is."""
    plain = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(plain.split()) or text.strip()


def exact_match(text: str, reference: str) -> float:
    """SQuAD's exact match: equal after normalising. What normalising would delete whole is compared as it is.

    >>> exact_match("the Nile.", "Nile"), exact_match("", "A"), exact_match("a.", "A"), exact_match("!", "?")
    (1.0, 0.0, 1.0, 0.0)
    """
    found, wanted = _comparable(text, reference)
    return float(found == wanted)


def exact_text(text: str, reference: str) -> float:
    """Equal but for white space at the ends: for answers in which punctuation counts, such as -7."""
    return float(text.strip() == reference.strip())


def f1(text: str, reference: str) -> float:
    """SQuAD's F1 over normalised words; where either side has none, 1 if both have none (as SQuAD 2.0 defines it).

    Scripts without spaces are compared by character, as MLQA does it for Chinese (Lewis et al. 2020).
    """
    found, wanted = map(split, _comparable(text, reference))
    if not found or not wanted:
        return float(found == wanted)
    num_common = (Counter(found) & Counter(wanted)).total()
    return 2 * num_common / (len(found) + len(wanted))


def squad_v2_f1(text: str, reference: str) -> float:
    """SQuAD 2.0's F1, in which the word `NO_ANSWER` stands for its empty answer: all or nothing on either side.

    >>> squad_v2_f1("Unanswerable.", "unanswerable"), squad_v2_f1("unanswerable question", "unanswerable")
    (1.0, 0.0)
    """
    return f1(_answer(text), _answer(reference))


def squad_v2_exact_match(text: str, reference: str) -> float:
    """SQuAD 2.0's exact match, the word `NO_ANSWER` and an empty answer being the same."""
    return exact_match(_answer(text), _answer(reference))


def _answer(text: str) -> str:
    return "" if normalise(text) == NO_ANSWER else text


def drop_exact_match(text: str, reference: str) -> float:
    """DROP's exact match: the same spans, each as often, in any order."""
    return float(sorted(_drop_spans(text)) == sorted(_drop_spans(reference)))


def drop_f1(text: str, reference: str) -> float:
    """DROP's F1 (Dua et al. 2019): spans are aligned one to one so that the mean F1 of their sets of words is highest.

    A span left over counts 0, and so does one without any of the numbers of the span that it is compared with. As in
    the official script the mean is rounded to two digits. That script is given lists of spans; here a text is cut at
    `SPAN_SEPARATOR`, answer and reference alike, which 1 in 500 of DROP's spans contains itself.

    >>> drop_f1("3 yards, Tolle", "Tolle, the 3-yard line, Osta"), drop_exact_match("Tolle, Brenn", "Brenn, Tolle")
    (0.47, 1.0)
    """
    from scipy.optimize import linear_sum_assignment  # takes a while to import

    found, wanted = ([set(span.split()) for span in _drop_spans(side)] for side in (text, reference))
    credits = np.array([[_bag_f1(bag, gold) for bag in found] for gold in wanted])
    total = credits[linear_sum_assignment(credits, maximize=True)].sum()
    return round(float(total) / max(len(found), len(wanted)), 2)


def _drop_spans(text: str) -> list[str]:
    return [_drop_normalise(span) or _or_as_written(span) for span in text.split(SPAN_SEPARATOR)]


def _drop_normalise(span: str) -> str:
    """Words are cut at blanks and hyphens, and numbers brought to one form: "1,250" and "1250.0" are the same."""
    found = []
    for word in re.split("[ -]", span.lower()):
        plain = word if _is_number(word) else "".join(char for char in word if char not in string.punctuation)
        plain = str(float(plain)) if _is_number(plain) else plain
        found += re.sub(r"\b(a|an|the)\b", " ", plain).split()
    return " ".join(found)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _bag_f1(found: set[str], wanted: set[str]) -> float:
    numbers = {word for word in wanted if _is_number(word)}
    if numbers and not numbers & found:
        return 0.0
    num_common = len(found & wanted)
    precision = num_common / len(found) if found else 1.0
    recall = num_common / len(wanted) if wanted else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def edit_similarity(text: str, reference: str) -> float:
    """1 minus the Levenshtein distance in characters over the longer length; case and punctuation count."""
    text, reference = text.strip(), reference.strip()
    if not text or not reference:
        return float(text == reference)
    distances = list(range(len(reference) + 1))
    for i, left in enumerate(text, start=1):
        diagonal, distances[0] = distances[0], i
        for j, right in enumerate(reference, start=1):
            substitution = diagonal + (left != right)
            diagonal = distances[j]
            distances[j] = min(substitution, diagonal + 1, distances[j - 1] + 1)
    return 1 - distances[-1] / max(len(text), len(reference))


@functools.lru_cache(maxsize=CACHED_TEXTS)
def rouge(name: str, text: str, reference: str) -> float:
    """F-measure of the rouge-score package without stemming.

    Its own tokens are runs of ASCII letters and digits. They serve where most letters of the reference are Latin, so
    that English is scored as everywhere; other references are read by `words`, those without any word by their marks.
    """
    scorer = _rouge_scorer(name, script(reference) == "latin" and _ASCII_TOKEN.search(reference) is not None)
    return float(scorer.score(reference, text)[name].fmeasure)


_ASCII_TOKEN = re.compile("[A-Za-z0-9]")


class _AnyScript:
    """A tokenizer for the rouge-score package."""

    def tokenize(self, text: str) -> list[str]:
        return words(text) or text.split()


@functools.cache
def _rouge_scorer(name: str, own_tokens: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # takes a second to import

    return RougeScorer([name], tokenizer=None if own_tokens else _AnyScript())


def bleu_tokenizer(references: Iterable[str]) -> str:
    """What sacrebleu has for the script that most of the references are in: `zh` for Chinese, `char` for other scripts
    without spaces, else its default."""
    scripts = Counter(script(reference) for reference in references)
    most = max(scripts, key=lambda name: scripts[name], default="latin")
    return {"chinese": "zh", "unspaced": "char"}.get(most, "13a")


@functools.cache
def _sacrebleu(tokenizer: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer)  # exponential smoothing, case kept


@functools.lru_cache(maxsize=CACHED_TEXTS)
def bleu_counts(text: str, references: tuple[str, ...], tokenizer: str = "13a") -> tuple[int, ...]:
    """What sacrebleu counts in one sentence: n-grams that match and all (n = 1-4), length, nearest reference's length.

    BLEU is a function of the sums of these ten numbers over all sentences.
    """
    found = _sacrebleu(tokenizer).corpus_score([text], [[reference] for reference in references])
    return (*found.counts, *found.totals, found.sys_len, found.ref_len)


def bleu_of_counts(counts: Sequence[int]) -> float:
    """sacrebleu's corpus BLEU, 0-1, from sums of `bleu_counts`."""
    correct, total = list(counts[:4]), list(counts[4:8])
    return float(_sacrebleu("13a").compute_bleu(correct, total, counts[8], counts[9], smooth_method="exp").score) / 100


def bleu_signature(num_references: int | None, tokenizer: str = "13a") -> str:
    """sacrebleu's signature, which a reported BLEU carries; None where the number of references differs by row."""
    metric = _sacrebleu(tokenizer)
    metric.corpus_score(["a"], [["a"]] * (num_references or 1))
    signature = str(metric.get_signature())
    return signature if num_references else re.sub(r"nrefs:\d+", "nrefs:var", signature)
