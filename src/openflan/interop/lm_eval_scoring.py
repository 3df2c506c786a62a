"""How lm-evaluation-harness scores a task, in a card's words, and a note for everything that is otherwise here.

Its defaults are those of lm_eval 0.4.13: 256 new tokens, up to a blank line, a space before an option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from openflan.interop.new_card import Note
from openflan.interop.tagged_yaml import Function

_MAX_NEW_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_DEFAULT_NEW_TOKENS = 256
_BLANK_LINE = "\n\n"
_OF_CHOICES = {"acc": "accuracy", "mcc": "matthews", "f1": "macro_f1"}
_OF_TEXT = {"bleu": "bleu", "f1": "f1", "rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeL"}
_BY_NORMALISATION = {
    "acc_norm": "`eval --normalisation bytes` comes nearest: the harness divides by characters",
    "acc_bytes": "`eval --normalisation bytes`",
    "acc_mutual_info": "`eval --normalisation pmi`",
}
_SAME = {"accuracy", "matthews", "binary_f1"}  # the same number as in the harness, given the same answers
_ABOUT_TEXT = {
    "bleu": "from 0 to 1 here",
    "f1": "F1 of words, as SQuAD has it",
    "rouge1": "without stemming",
    "rouge2": "without stemming",
    "rougeL": "without stemming",
}
_IGNORED = ("ignore_case", "ignore_punctuation", "ignore_numbers", "regexes_to_ignore")


def scoring(config: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[dict[str, Any], list[Note]]:
    """The card's keys for metrics and generation, and what the harness does otherwise."""
    metrics, notes = _metrics(config, answer)
    keys: dict[str, Any] = {"metrics": metrics}
    generates = config.get("output_type", "generate_until") == "generate_until"
    if answer["kind"] == "text":
        given = config.get("generation_kwargs")
        generation = given if isinstance(given, dict) else {}
        keys["stop"] = _stops(config, generation)
        numbers = [generation[name] for name in _MAX_NEW_TOKENS if type(generation.get(name)) is int]
        keys["max_new_tokens"] = numbers[0] if numbers and numbers[0] > 0 else _DEFAULT_NEW_TOKENS
        notes += _sampling(generation)
    return keys, [*notes, *_filters(config), *_exemplars(config), _delimiter(config, generates)]


def _metrics(config: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[list[str], list[Note]]:
    is_choice = answer["kind"] == "choice"
    ranks = config.get("output_type") == "multiple_choice"
    found = config.get("metric_list") or [{"metric": "acc" if ranks else "exact_match"}]
    metrics, notes = [], []
    for entry in found if isinstance(found, list) else []:
        name = entry.get("metric") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            what = f"a Python function, {name.name}" if isinstance(name, Function) else "no metric's name"
            notes.append(Note("metric_list", "left out", what))
            continue
        here, note = _of_choice(name, entry, answer, ranks) if is_choice else _of_text(name, entry)
        metrics += [here] if here else []
        notes += [Note("metric_list", "changed" if here else "left out", f"{name}: {note}")] if note else []
    if isinstance(config.get("process_results"), Function):
        notes.append(Note("metric_list", "changed", "the harness computes its metrics by process_results, in Python"))
    if not metrics:
        metrics = ["accuracy" if is_choice else "exact_match"]
        notes.append(Note("metric_list", "changed", f"{metrics[0]} in place of the task's own metrics"))
    return list(dict.fromkeys(metrics)), notes


def _of_choice(name: str, entry: Mapping[str, Any], answer: Mapping[str, Any], ranks: bool) -> tuple[str | None, str]:
    """Our metric for one of the harness's, and what is otherwise."""
    if not ranks:
        return "accuracy", "accuracy of a choice: the harness generates and compares text"
    if name in _BY_NORMALISATION:
        return "accuracy", _BY_NORMALISATION[name]
    fixed = answer.get("options")
    if name not in _OF_CHOICES or (name != "acc" and not fixed):
        return None, "no such metric here" if name not in _OF_CHOICES else "only among fixed options"
    here = "binary_f1" if name == "f1" and len(fixed or ()) == 2 else _OF_CHOICES[name]
    if isinstance(aggregation := entry.get("aggregation"), Function):
        return here, f"{here}, where the harness aggregates by a Python function, {aggregation.name}"
    return here, "" if here in _SAME else f"{here}: the mean over all options"


def _of_text(name: str, entry: Mapping[str, Any]) -> tuple[str | None, str]:
    if name != "exact_match":
        return _OF_TEXT.get(name), _ABOUT_TEXT.get(name, "no such metric here")
    ignored = [key for key in _IGNORED if entry.get(key)]
    if "ignore_case" in ignored or "ignore_punctuation" in ignored:
        here, does = "exact_match", "ignores case, punctuation and articles"
    else:
        here, does = "exact_text", "ignores white space at the ends"
    return here, f"{here}, which {does}; there {', '.join(ignored) or 'nothing is ignored'}"


def _stops(config: Mapping[str, Any], generation: Mapping[str, Any]) -> list[str]:
    until = generation.get("until", config.get("fewshot_delimiter", _BLANK_LINE))
    return [stop for stop in (until if isinstance(until, list) else [until]) if isinstance(stop, str) and stop]


def _sampling(generation: Mapping[str, Any]) -> Iterator[Note]:
    known = {"until", "do_sample", "temperature", *_MAX_NEW_TOKENS}
    draws = generation.get("do_sample") is True
    told = [
        f"{key} {value}" for key, value in generation.items() if key not in known or (draws and key == "temperature")
    ]
    if draws or told:
        what = ", ".join(["do_sample", *told] if draws else told)
        yield Note("generation_kwargs", "left out", f"{what}: here the likeliest token is taken")
    if any(not isinstance(generation.get(key, 1), int) for key in _MAX_NEW_TOKENS):
        yield Note("generation_kwargs", "changed", f"{_DEFAULT_NEW_TOKENS} new tokens at most")


def _filters(config: Mapping[str, Any]) -> Iterator[Note]:
    names = []
    found = config.get("filter_list")
    for each in found if isinstance(found, list) else []:
        steps = each.get("filter") if isinstance(each, dict) else None
        for step in steps if isinstance(steps, list) else []:
            function = step.get("function") if isinstance(step, dict) else None
            names += [function.name if isinstance(function, Function) else str(function)]
    if set(names) - {"take_first"}:  # of one answer, the first is the answer
        without = ", ".join(dict.fromkeys(names))
        yield Note("filter_list", "left out", f"answers are scored as they are, without {without}")
    repeats = config.get("repeats")
    if isinstance(repeats, int) and repeats > 1:
        yield Note("repeats", "left out", f"one answer to each prompt, not {repeats}")


def _exemplars(config: Mapping[str, Any]) -> Iterator[Note]:
    shots = config.get("num_fewshot")
    if isinstance(shots, int) and shots > 0:
        what = f"no exemplars, not {shots}: `eval --shots {shots}` shows as many"
        told = [f"{key} {config[key]!r}" for key in ("fewshot_split", "fewshot_delimiter") if config.get(key)]
        yield Note("num_fewshot", "changed", "; the harness's ".join([what, *told]))
    if config.get("fewshot_config"):
        yield Note("fewshot_config", "left out", "exemplars are drawn from the task's own rows")
    if config.get("description"):
        yield Note("description", "changed", "in every prompt, also in each exemplar")


def _delimiter(config: Mapping[str, Any], generates: bool) -> Note:
    """What stands between prompt and answer (decision 002)."""
    there = "nothing" if generates else repr(config.get("target_delimiter", " "))
    nearest = "" if generates else f": `eval --separator {there}` comes nearest"
    return Note("target_delimiter", "changed", f"a line break between prompt and answer, not {there}{nearest}")
