"""A plan in words: what would be trained on, how much of what was asked for was got, what was left out and why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openflan.report.tables import percent
from openflan.tasks.adapt import outcome

NUM_SHOWN = 5
LITTLE = 0.05
"""A change of weights, as a share of their size, below which a training is told to do little."""
WIDTH = 36
KINDS = {"text": "the same text", "field": "an equal field", "ngram": "words in a row"}
DROPPED = {
    "num_dropped_too_long_prompt": "prompts too long even after cutting",
    "num_dropped_too_long_target": "targets longer than model.max_target_tokens",
    "num_dropped_longer_than_pack": "longer than train.pack_tokens",
}
CUT = {"num_with_cut_field": "prompts that lost the middle of a field", "num_exemplars_dropped": "exemplars left out"}


def plan_text(plan: Mapping[str, Any], mixture: Mapping[str, Any], width: int | None = None) -> str:
    """One plan for people, from what `openflan plan --json` prints of it and the recipe's mixture settings.

    In a terminal of `width` columns lines are broken between words, and numbers stand below names where both do not
    fit in one.
    """
    return _wrapped(_lines(plan, mixture, width), width)


def _wrapped(lines: Iterator[str], width: int | None) -> str:
    if width is None:
        return "\n".join(lines)
    broken: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        broken += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return "\n".join(broken)


def _lines(plan: Mapping[str, Any], mixture: Mapping[str, Any], width: int | None) -> Iterator[str]:
    tokens = plan.get("tokens")
    yield f"Held out: {plan['held_out']}   plan {plan['fingerprint']}   {plan['num_examples']:,} prompts"
    yield from _shares(plan, width)
    yield from _formats(plan["tasks"], mixture)
    yield from _overlap(plan["overlap"])
    for task, reason in plan["excluded"].items():
        yield f"  left out: {task}: {reason}"
    for name, reasons in plan["num_rows_dropped"].items():
        yield f"  rows of {name}: " + "; ".join(f"{n:,} {outcome(reason)}" for reason, n in reasons.items())
    if tokens:
        yield from _tokens(tokens)


def _shares(plan: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """A line for each cluster and task; two where they do not fit in `width`."""
    tokens = plan.get("tokens")
    rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]] = []
    for name, row in plan["clusters"].items():
        rows.append((name, row, _of_cluster(tokens, plan["tasks"], name)))
        for task, each in plan["tasks"].items():
            if each["cluster"] == name:
                rows.append(("  " + task, each, tokens["by_task"].get(task, {}) if tokens else None))
    heading = f"  {'':<{WIDTH}}{'asked':>7}{'got':>8}{'prompts':>10}   {'rows used':<20}"
    lines = [(heading + ("supervised tokens" if tokens else "")).rstrip(), *(_share_line(*row) for row in rows)]
    if width is None or max(map(len, lines)) <= width:
        yield from lines
        return
    for name, row, counts in rows:
        yield f"  {name}"
        told = f"{percent(row['requested_share'])}% asked, {percent(row['achieved_share'])}% got"
        told += f", {row['num_examples']:,} prompts, {_used(row)} rows"
        yield f"      {told}" + (
            f", {counts.get('num_supervised', 0):,} supervised tokens" if counts is not None else ""
        )


def _used(row: Mapping[str, Any]) -> str:
    return f"{row['num_rows_used']:,} of {row['num_rows_available']:,}"


def _share_line(name: str, row: Mapping[str, Any], tokens: Mapping[str, Any] | None) -> str:
    shares = f"{percent(row['requested_share']):>6}%{percent(row['achieved_share']):>7}%"
    supervised = f"{tokens.get('num_supervised', 0):>9,}" if tokens is not None else ""
    return f"  {name:<{WIDTH}}{shares}{row['num_examples']:>10,}   {_used(row):<20}{supervised}".rstrip()


def _of_cluster(tokens: Mapping[str, Any] | None, tasks: Mapping[str, Any], cluster: str) -> Mapping[str, Any] | None:
    if tokens is None:
        return None
    own = [counts for task, counts in tokens["by_task"].items() if tasks[task]["cluster"] == cluster]
    return {"num_supervised": sum(counts["num_supervised"] for counts in own)}


def _formats(tasks: Mapping[str, Any], mixture: Mapping[str, Any]) -> Iterator[str]:
    """Inverted wordings and few-shot prompts: what was asked and what was got."""
    num = sum(row["num_examples"] for row in tasks.values())
    asked = mixture["inverted_share"]
    got = sum(row["num_inverted"] for row in tasks.values()) / num
    wanted = "as many as there are" if asked is None else f"{percent(asked)}%"
    yield f"  inverted wordings: {wanted} asked, {percent(got)}% got"
    without = [name for name, row in tasks.items() if not row["num_inverted_templates"]]
    if asked and mixture["style"] == "instruction" and without:
        yield f"    none in the card: {_some(without, NUM_SHOWN)}"
    if mixture["few_shot_share"]:
        num_few_shot = sum(row["num_few_shot"] for row in tasks.values())
        num_exemplars = sum(row["num_exemplars"] for row in tasks.values())
        mean = f"{num_exemplars / num_few_shot:.1f} exemplars each" if num_few_shot else "no other rows to show"
        asked_share, got_share = percent(mixture["few_shot_share"]), percent(num_few_shot / num)
        yield f"  few-shot prompts: {asked_share}% asked, {got_share}% got, {mean}"


def _overlap(found: Mapping[str, Any]) -> Iterator[str]:
    """What the gate found, and what becomes of it."""
    fate = f"TRAINED ON: {found['reason']}" if found["action"] == "allow" else "left out"
    yield "  training rows that show a held-out row: " + (
        f"{found['num_rows']:,}, {fate}" if found["num_rows"] else "none"
    )
    for task, kinds in found["by_task"].items():
        yield f"    {task}: " + ", ".join(f"{number:,} by {KINDS[kind]}" for kind, number in kinds.items())
    if found["num_boilerplate_ngrams"]:
        yield f"    not counted: {found['num_boilerplate_ngrams']:,} runs of 8 words that stand in many texts"


def _tokens(tokens: Mapping[str, Any]) -> Iterator[str]:
    counts = tokens["counts"]
    share = percent(counts["num_supervised"] / counts["num_tokens"])
    yield f"  tokens: {counts['num_tokens']:,}, of them {counts['num_supervised']:,} supervised ({share}%)"
    lost = {key: words for key, words in {**DROPPED, **CUT}.items() if counts.get(key)}
    for key, words in lost.items():
        of_tasks = {task: own[key] for task, own in tokens["by_task"].items() if own.get(key)}
        where = [f"{task} {number:,}" for task, number in sorted(of_tasks.items(), key=lambda item: -item[1])]
        told = f" ({_some(where, NUM_SHOWN)})" if where else ""
        yield f"  {'dropped' if key in DROPPED else 'cut'}: {int(counts[key]):,} {words}{told}"
    yield (
        f"  padding: {percent(tokens['padding_alone'])}% with a prompt to a row, each as long as the longest of its "
        f"update; {percent(tokens['padding_packed'])}% packed"
    )
    yield f"  updates: {tokens['num_updates']:,} of {int(counts['num_packs']):,} packs"
    change = tokens["most_change"]
    if change is not None and change < LITTLE:
        yield f"  note: Adafactor changes a weight by at most {change:.1%} of its size in so few updates at this rate"
    yield f"  model: {tokens['reading']}"
    each = f" in each of {tokens['num_processes']} processes" if tokens["num_processes"] > 1 else ""
    yield (
        f"  estimate for this machine: {tokens['num_parameters']:,} parameters, "
        f"{tokens['memory_bytes'] / 2**30:.2f} GiB{each}, {duration(tokens['seconds'])}"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42.3), duration(600), duration(9000), duration(600_000)
    ('42 seconds', '10 minutes', '2.5 hours', '6.9 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def difference_text(found: Mapping[str, Any], a: str, b: str, width: int | None = None) -> str:
    """Two plans for one held-out cluster, side by side, from what `compare_plans` found; broken as in `plan_text`."""
    return _wrapped(_difference_lines(found, a, b), width)


def _difference_lines(found: Mapping[str, Any], a: str, b: str) -> Iterator[str]:
    yield f"Held out: {found['held_out']}"
    same = " (the same plan)" if found["fingerprints"][0] == found["fingerprints"][1] else ""
    yield f"  plans: {' against '.join(found['fingerprints'])}{same}"
    first, second = found["num_examples"]
    yield f"  prompts: {first:,} against {second:,}; {found['num_shared_prompts']:,} in both (row, wording, exemplars)"
    yield f"  rows: {found['num_shared_rows']:,} in both"
    for name, (before, after) in found["settings"].items():
        yield f"  {name}: {before} against {after}"
    for where, tasks in ((a, found["only_in"][0]), (b, found["only_in"][1])):
        if tasks:
            yield f"  only in {where}: {', '.join(tasks)}"
    for name, (before, after) in found["shares"].items():
        yield f"  share of {name}: {percent(before)}% against {percent(after)}%"


def _some(names: Sequence[str], most: int) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
