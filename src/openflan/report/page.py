"""The report of a study: one HTML file that needs nothing else, readable without JavaScript and on paper."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from openflan import files
from openflan.report import charts, html, tables
from openflan.study.compare import StudyResults, TaskRow


def report_html(results: StudyResults, title: str | None = None) -> str:
    """The page as text. Everything that came from a dataset, a card or a path is escaped."""
    environment = html.environment()
    environment.filters.update(percent=tables.percent, points=tables.points, words=tables.words)
    lines = dict.fromkeys((row.held_out, row.task, row.template) for row in results.details)
    task_rows: dict[tuple[str, str], dict[str, TaskRow]] = {}
    for row in results.tasks:
        task_rows.setdefault((row.held_out, row.task), {})[row.arm] = row
    remarked = [(row, tables.remarks(row)) for row in results.tasks]
    return environment.get_template("page.html.j2").render(
        title=title or f"OpenFLAN: {tables.shots(results.asked)} on held-out clusters",
        results=results,
        tables=tables,
        gaps=tables.sort_differences(results),
        commands=list(dict.fromkeys(run.command for run in results.runs)),
        task_rows=task_rows,
        task_notes=[f"{row.task}, {row.arm}: {'; '.join(told)}." for row, told in remarked if told],
        template_rows=list(lines),
        template_arms=[arm for arm in results.arms if any(row.arm == arm for row in results.details)],
        details={(row.held_out, row.task, row.template, row.arm): row for row in results.details},
        headline_chart=Markup(charts.headline_chart(results)),  # escaped where it is drawn
        template_chart=Markup(charts.template_chart(results)),
    )


def write_report(results: StudyResults, path: Path) -> None:
    """Write the page to `path` atomically; RunError when the disk refuses."""
    files.write_text(path, report_html(results))
