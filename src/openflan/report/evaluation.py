"""Evaluations in words and rounded numbers, for the terminal; nothing is computed anew."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from openflan.evaluation.metrics import Normalisation
from openflan.report.tables import UNPAIRED, counted, interval, p_value, percent, points, remarks, words
from openflan.report.terminal import Fitting
from openflan.study.results import (
    AverageResult,
    ComparedAverage,
    ComparedTask,
    Evaluation,
    EvaluationRecord,
    TaskResult,
    Unfinished,
)
from openflan.tasks.adapt import MERGED


def scores(
    record: EvaluationRecord,
    results: Sequence[TaskResult],
    averages: Sequence[AverageResult],
    normalisation: Normalisation = "sum",
    by_template: bool = False,
) -> RenderableType:
    """Every task with its interval, its spread over templates and its baselines, and below it the other metrics of its
    card (and each template); then averages, then what to know."""
    best = _has_best_dev(record)
    columns = ["percent", "95% interval", "templates", *(["best dev"] if best else []), "majority", "prior"]
    table = _table(f"{record.name} ({how(record)}{_by(normalisation)})", "task", *columns)
    for result in results:
        spread = "" if result.spread is None else f" ±{percent(result.spread)}"
        cells = [percent(result.score), interval(result.low, result.high), f"{result.num_templates}{spread}"]
        if best:
            cells.append(percent(result.best_dev.score if result.best_dev else None))
        cells += ["" if value is None else percent(value) for value in (result.majority, result.option_prior)]
        table.add_row(
            _named(result.task, f"{result.metric}, {counted(result.num_examples, result.num_units)}"), *map(Text, cells)
        )
        for other in result.others:
            cells = [percent(other.score), interval(other.low, other.high)]
            table.add_row(Text(f" {other.metric}", "dim"), *map(Text, cells))
        for template in result.templates if by_template else ():
            table.add_row(Text(f" {template.template}", "dim"), Text(percent(template.score)))
    for mean in averages:
        table.add_row(_average(mean), Text(percent(mean.score)), Text(interval(mean.low, mean.high)))
    return Group(Fitting(table), *(Text(note) for note in notes(record, results, in_nats=normalisation == "sum")))


def how(record: EvaluationRecord) -> str:
    """How prompts were asked where it is not the usual way, in a few words."""
    known = record.settings
    shots = known.get("num_shots", 0)
    told = ["zero-shot" if not shots else f"{shots} shots, {str(known['exemplars']).replace('_', ' ')}"]
    told += ["completion prompts"] if known.get("prompt") == "completion" else []
    told += ["options not listed"] if known.get("show_options") is False else []
    told += ["chat template"] if known.get("chat_template") else []
    told += [str(known["dtype"])] if known.get("dtype", "float32") != "float32" else []
    return ", ".join(told)


def notes(record: EvaluationRecord, results: Sequence[TaskResult], in_nats: bool = True) -> list[str]:
    """What the scores do not show: what has no score, was cut, went on too long, or could not be told apart."""
    found = [f"Slow: sequences were scored one at a time, because of {record.warning}."] if record.warning else []
    found += [f"Model: {record.reading}."] if record.reading else []
    if record.server:
        found.append(f"Asked through a server: {record.server}.")
    shots = int(record.settings.get("num_shots", 0))
    for result in results:
        task = record.tasks[result.task]
        told = remarks(result, result.max_new_tokens, in_nats)
        told += [f"{task.num_rows_dropped:,} rows dropped"] if task.num_rows_dropped else []
        told += [f"{task.num_rows_merged:,} rows {MERGED}"] if task.num_rows_merged else []
        told += ["no dev rows, and so no best template"] if _has_best_dev(record) and not task.num_dev_examples else []
        told += [f"{result.mean_exemplars:.1f} exemplars fitted on average"] if result.mean_exemplars < shots else []
        if told:
            found.append(f"{result.task}: {'; '.join(told)}.")
    return found


def unfinished(found: Unfinished) -> str:
    """The line that stands for an evaluation without scores."""
    counts = f"{found.num_predictions:,} of {found.num_expected:,} predictions"
    return f"{found.folder}: unfinished, {counts}; repeating its `openflan eval` continues it."


def comparison(
    first: Evaluation,
    second: Evaluation,
    rows: Sequence[ComparedTask],
    averages: Sequence[ComparedAverage] = (),
    normalisation: Normalisation = "sum",
) -> RenderableType:
    """What two models differ by on the same rows: the interval, and p-values as they are and after Holm's method; then
    averages.

    One model that was asked in two ways is told apart by its directories.
    """
    names = [each.record.name for each in (first, second)]
    if names[0] == names[1]:
        names = [each.folder.name for each in (first, second)]
    title = f"{' - '.join(names)}, paired (points{_by(normalisation)})"
    table = _table(title, "task", "points", "95% interval", "p", "p (Holm)", "McNemar", "detectable")
    for row in rows:
        bounds = interval(row.low, row.high, signed=True)
        p_values = [p_value(value) for value in (row.p_value, row.adjusted, row.mcnemar)]
        cells = [points(row.difference), bounds, *p_values, percent(row.detectable)]
        table.add_row(_named(row.task, counted(row.num_examples, row.num_units)), *map(Text, cells))
    for mean in averages:
        cells = [points(mean.difference), interval(mean.low, mean.high, signed=True), p_value(mean.p_value)]
        table.add_row(_average(mean), *map(Text, [*cells, "", "", percent(mean.detectable)]))
    left_out = [f"{row.task}: {row.num_unpaired:,} prompts{UNPAIRED}." for row in rows if row.num_unpaired]
    shared = [
        row.task for row in rows if row.mcnemar is not None and row.num_units and row.num_units < row.num_examples
    ]
    if shared:
        left_out.append(f"McNemar's test counts a unit of several rows once: {', '.join(shared)}.")
    return Group(Fitting(table), *map(Text, left_out))


def _has_best_dev(record: EvaluationRecord) -> bool:
    return any(task.num_dev_examples for task in record.tasks.values())


def _by(normalisation: Normalisation) -> str:
    """How options were compared, where it is not by the sums of FLAN."""
    words = {"per_token": "per token", "per_byte": "per byte", "pmi": "by PMI"}
    return f", options compared {words[normalisation]}" if normalisation in words else ""


def _named(name: str, what: str, style: str = "") -> Text:
    """A name and, below it, what it is."""
    return Text.assemble((name, style), "\n ", (what, "dim"))


def _average(mean: AverageResult | ComparedAverage) -> Text:
    by = ", datasets first" if mean.cluster_mean == "datasets" else ""
    return _named(words(mean.name), f"over {mean.num_tasks} tasks{by}", "bold")


def _table(title: str, first: str, *numbers: str) -> Table:
    """Where the terminal is narrow, names are broken and numbers never are."""
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
