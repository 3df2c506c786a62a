"""What predictions earn. Some metrics give each prediction a credit and average; others read all of a task together.

Both are one type here. A `Metric` turns every prediction into a few numbers that add up (a credit; a cell of a
confusion table; counts of n-grams), and their sums into a value. So whatever leaves test rows out, as the jackknife
does, needs sums alone and never looks at the predictions again.

An unscored prediction has nothing that the metric reads (no options, no text, no reference). It is never taken for a
wrong one.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from openflan.errors import CatalogError, ConfigError, ModelError, RunError, did_you_mean
from openflan.evaluation import tables, text_metrics
from openflan.evaluation.predictions import Prediction
from openflan.tasks.card import Card
from openflan.tasks.catalog import Task

Array = NDArray[np.float64]
Normalisation = Literal["sum", "per_token", "per_byte", "pmi"]
Needs = Literal["a choice", "a choice among fixed options", "a choice between two fixed options", "text"]
Credit = Callable[[Prediction, Normalisation], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """`statistics`: the predictions of one task, n of them, to [n, s], a row of NaN for an unscored one.

    `value`: sums of such rows, [..., s], to values [...]. The first number of a row says how many observations it
    stands for: 1, or 0 where another row speaks for it. `needs`: the answers that it can score. `lowest`: the lowest
    value there is; the highest is 1.
    """

    statistics: Callable[[Sequence[Prediction], Normalisation], Array]
    value: Callable[[Array], Array]
    needs: Needs
    lowest: float = 0.0


def find_metric(name: str) -> Metric:
    """The metric of that name; CatalogError with the nearest names otherwise."""
    try:
        return METRICS[name]
    except KeyError:
        do = did_you_mean(name, METRICS)
        raise CatalogError("metrics", f"the unknown metric {name!r}", "a known metric", do) from None


def metric_problems(card: Card) -> list[str]:
    """Why metrics of a card cannot score its answers, one text for each that cannot; none where all can."""
    found = []
    for name in card.metrics:
        if name not in METRICS:
            found.append(f"the unknown metric {name!r} ({did_you_mean(name, METRICS).rstrip('.')})")
        elif METRICS[name].needs not in _kinds(card):
            found.append(f"the metric {name}, which needs {METRICS[name].needs}, for {_kinds(card)[-1]}")
        elif name == "group_exact_match" and not card.group_by:
            found.append(f"the metric {name}, which needs `group_by`")
    return found if card.metrics else ["no metric"]


def check_metrics(tasks: Iterable[Task]) -> None:
    """CatalogError for a task whose card has a metric that cannot score its answers; told before any is asked."""
    for task in tasks:
        problems = metric_problems(task.card)
        if problems:
            raise CatalogError(task.path, "; ".join(problems), "metrics of its kind of answer", "See `metrics`.")


def _kinds(card: Card) -> list[Needs]:
    """What a card's answers are, from the general to the particular."""
    if card.answer.kind == "text":
        return ["text"]
    fixed = card.answer.options
    kinds: list[Needs] = ["a choice"]
    kinds += ["a choice among fixed options"] if fixed else []
    return [*kinds, "a choice between two fixed options"] if fixed and len(fixed) == 2 else kinds


def credit(prediction: Prediction, metric: str, normalisation: Normalisation = "sum") -> float | None:
    """The credit, 0-1, that `prediction` earns under the metric of that name; None when it cannot be scored.

    Raises CatalogError for an unknown metric and for one that is no mean of credits, ModelError for log-probs that are
    not finite, and RunError for a normalisation that the prediction was not stored for (see `option_scores`).
    """
    find_metric(metric)
    if metric not in CREDITS:
        found = f"{metric}, which is a value of a whole task"
        raise CatalogError("metrics", found, f"a metric with a credit for each row: {', '.join(CREDITS)}")
    return CREDITS[metric](prediction, normalisation)


def option_scores(prediction: Prediction, normalisation: Normalisation = "sum") -> tuple[float, ...]:
    """What options are ranked by, in nats: log-probs summed over tokens (FLAN's released code), or made from those.

    `per_token` and `per_byte` divide by the option's tokens and UTF-8 bytes; `pmi` takes off the option's log-prob
    without the prompt (Holtzman et al. 2021), which the prediction must hold: RunError otherwise, and for an option
    without tokens or bytes to divide by. NaN or infinity raises ModelError, an unknown name ConfigError.
    """
    _finite(prediction, prediction.logprobs, "log-prob")
    match normalisation:
        case "sum":
            return prediction.logprobs
        case "per_token":
            return _divided(prediction, prediction.num_tokens, "tokens")
        case "per_byte":
            return _divided(prediction, prediction.num_bytes, "bytes")
        case "pmi":
            if prediction.logprobs and not prediction.prior_logprobs:
                do = "Evaluate again with them, or choose another normalisation."
                raise RunError(prediction.where, "no log-probs of the options without the prompt", "one each", do)
            _finite(prediction, prediction.prior_logprobs, "prior log-prob")
            pairs = zip(prediction.logprobs, prediction.prior_logprobs, strict=True)
            return tuple(logprob - prior for logprob, prior in pairs)
    known = get_args(Normalisation)
    raise ConfigError("normalisation", repr(normalisation), " or ".join(known), did_you_mean(str(normalisation), known))


def _finite(prediction: Prediction, values: Sequence[float], what: str) -> None:
    for option, value in enumerate(values):
        if not math.isfinite(value):
            do = "Look for a dtype that overflows, or for weights that are not finite."
            raise ModelError(prediction.where, f"{what} {value} for option {option}", "a finite number", do)


def _divided(prediction: Prediction, lengths: Sequence[int], unit: str) -> tuple[float, ...]:
    if 0 in lengths:
        found = f"option {lengths.index(0)} without {unit}"
        raise RunError(prediction.where, found, "a length to divide by", "Choose another normalisation.")
    return tuple(logprob / length for logprob, length in zip(prediction.logprobs, lengths, strict=True))


def chosen_options(prediction: Prediction, normalisation: Normalisation = "sum") -> tuple[int, ...]:
    """The options that share the highest score exactly: one, or more for a tie; none for a prediction without options.

    Equality is exact: log-probs are fp32, where equal means that the model cannot tell the options apart.
    """
    scores = option_scores(prediction, normalisation)
    top = max(scores, default=0.0)
    return tuple(option for option, score in enumerate(scores) if score == top)


def margin(prediction: Prediction, normalisation: Normalisation = "sum") -> float | None:
    """The highest score minus the second, in nats (per token or byte, where it is divided by these): 0 for a tie.

    None for fewer than two options. Near-ties are answers that another batch size or dtype may turn around.
    """
    scores = sorted(option_scores(prediction, normalisation))
    return scores[-1] - scores[-2] if len(scores) > 1 else None


def choice_credit(prediction: Prediction, normalisation: Normalisation = "sum") -> float | None:
    """Rank classification: 1 when the gold option alone has the highest score, 0 when another is above it.

    When k options share the top exactly, each is given 1/k, so a model that cannot tell options apart scores what
    guessing scores wherever the gold option stands.
    """
    chosen = chosen_options(prediction, normalisation)
    if prediction.gold is None:
        return None
    return 1 / len(chosen) if prediction.gold in chosen else 0.0


def _best_reference(compare: text_metrics.Comparison) -> Credit:
    """A metric on generated text: the best value over all references."""

    def function(prediction: Prediction, normalisation: Normalisation) -> float | None:
        if prediction.text is None or not prediction.references:
            return None
        return max(compare(prediction.text, reference) for reference in prediction.references)

    return function


def _mean(credit_of: Credit, needs: Needs) -> Metric:
    def statistics(predictions: Sequence[Prediction], normalisation: Normalisation) -> Array:
        credits = [credit_of(prediction, normalisation) for prediction in predictions]
        return np.array([[math.nan] * 2 if value is None else [1, value] for value in credits]).reshape(-1, 2)

    return Metric(statistics, mean_value, needs)


def mean_value(sums: Array) -> Array:
    """The mean credit, from sums [..., 2] of observations and credits."""
    mean: Array = sums[..., 1] / sums[..., 0]
    return mean


def _group_credits(predictions: Sequence[Prediction], normalisation: Normalisation) -> Array:
    """1 for a group all of whose members are right, else 0. The first member speaks for it, the others count nothing.

    A group of which a member is unscored is unscored. RunError for predictions without a group.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, prediction in enumerate(predictions):
        if not prediction.group:
            do = "Name the fields that rows of one group share in the card: `group_by`."
            raise RunError(prediction.where, "a prediction without a group", "one for group_exact_match", do)
        groups[prediction.group, prediction.template].append(number)
    rows = np.zeros((len(predictions), 2))
    for members in groups.values():
        members.sort(key=lambda number: predictions[number].uid)
        credits = [choice_credit(predictions[number], normalisation) for number in members]
        scored = [value for value in credits if value is not None]
        if len(scored) < len(credits):
            rows[members] = math.nan
        else:
            rows[members[0]] = 1, math.prod(scored)
    return rows


def _confusion(predictions: Sequence[Prediction], normalisation: Normalisation) -> Array:
    """Each prediction's cell of the table gold x chosen, a tie shared equally: [n, 1 + options * options]."""
    num_options = max((len(prediction.logprobs) for prediction in predictions), default=0)
    rows = np.full((len(predictions), 1 + num_options**2), math.nan)
    for row, prediction in zip(rows, predictions, strict=True):
        chosen = chosen_options(prediction, normalisation)
        if prediction.gold is not None:
            row[:] = 0
            row[0] = 1
            for option in chosen:
                row[1 + prediction.gold * num_options + option] = 1 / len(chosen)
    return rows


def _of_table(
    function: Callable[[Array], Array], needs: Needs = "a choice among fixed options", lowest: float = 0.0
) -> Metric:
    def value(sums: Array) -> Array:
        num_options = math.isqrt(sums.shape[-1] - 1)
        return function(sums[..., 1:].reshape(*sums.shape[:-1], num_options, num_options))

    return Metric(_confusion, value, needs, lowest)


def _bleu_counts(predictions: Sequence[Prediction], normalisation: Normalisation) -> Array:
    rows = np.full((len(predictions), 11), math.nan)
    tokenizer = _bleu_tokenizer(predictions)
    for row, prediction in zip(rows, predictions, strict=True):
        if prediction.text is not None and prediction.references:
            row[:] = 1, *text_metrics.bleu_counts(prediction.text, prediction.references, tokenizer)
    return rows


def _bleu(sums: Array) -> Array:
    flat = [text_metrics.bleu_of_counts(counts[1:]) for counts in sums.reshape(-1, 11).astype(int).tolist()]
    return np.array(flat).reshape(sums.shape[:-1])


def signature(metric: str, predictions: Sequence[Prediction]) -> str | None:
    """What a reported value must carry to be compared with others': sacrebleu's signature for BLEU, else None."""
    if metric != "bleu":
        return None
    counts = {len(prediction.references) for prediction in predictions if prediction.references}
    return text_metrics.bleu_signature(counts.pop() if len(counts) == 1 else None, _bleu_tokenizer(predictions))


def _bleu_tokenizer(predictions: Sequence[Prediction]) -> str:
    """One for all rows of a task."""
    return text_metrics.bleu_tokenizer(reference for prediction in predictions for reference in prediction.references)


CREDITS: dict[str, Credit] = {
    "accuracy": choice_credit,
    "exact_text": _best_reference(text_metrics.exact_text),
    "exact_match": _best_reference(text_metrics.exact_match),
    "f1": _best_reference(text_metrics.f1),
    "squad_v2_f1": _best_reference(text_metrics.squad_v2_f1),
    "squad_v2_exact_match": _best_reference(text_metrics.squad_v2_exact_match),
    "drop_exact_match": _best_reference(text_metrics.drop_exact_match),
    "drop_f1": _best_reference(text_metrics.drop_f1),
    "rouge1": _best_reference(functools.partial(text_metrics.rouge, "rouge1")),
    "rouge2": _best_reference(functools.partial(text_metrics.rouge, "rouge2")),
    "rougeL": _best_reference(functools.partial(text_metrics.rouge, "rougeL")),
    "edit_similarity": _best_reference(text_metrics.edit_similarity),
}
METRICS: dict[str, Metric] = {
    **{name: _mean(credit_of, "a choice" if name == "accuracy" else "text") for name, credit_of in CREDITS.items()},
    "group_exact_match": Metric(_group_credits, mean_value, "a choice"),
    "binary_f1": _of_table(tables.binary_f1, "a choice between two fixed options"),
    "macro_f1": _of_table(tables.macro_f1),
    "matthews": _of_table(tables.matthews, lowest=-1.0),
    "pearson": _of_table(tables.pearson, lowest=-1.0),
    "spearman": _of_table(tables.spearman, lowest=-1.0),
    "bleu": Metric(_bleu_counts, _bleu, "text"),
}
