"""Draws what `results.json` holds, as SVG text to stand inside a page. Same results, same bytes.

Text and axes take the page's colour (`currentColor`), so one picture serves a light and a dark page.
"""

from __future__ import annotations

import html
import io
import textwrap
from typing import TYPE_CHECKING, Any

from openflan.report.tables import MISSING, interval, percent, shots, words
from openflan.study.compare import MAJORITY, SHUFFLED, TUNED, UNTUNED, StudyResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which most colour-blind readers tell apart; markers repeat the distinction without colour.
STYLES = {
    UNTUNED[0]: ("#0072b2", "o"),
    UNTUNED[1]: ("#56b4e9", "s"),
    TUNED: ("#d55e00", "D"),
    SHUFFLED: ("#e69f00", "^"),
    MAJORITY: ("#999999", "v"),
}
OTHER_STYLES = (("#009e73", "P"), ("#cc79a7", "X"), ("#b8a800", "<"), ("#7d54b2", ">"))

INK = "#010203"  # replaced by currentColor in the finished picture
CLUSTERS_IN_A_ROW = 4
WIDTH = 9.0  # inches


def headline_chart(results: StudyResults) -> str:
    """Bars with 95% intervals: a group per held-out cluster, a bar per arm. A missing arm says so and has no bar."""
    clusters = results.held_out
    chunks = [clusters[i : i + CLUSTERS_IN_A_ROW] for i in range(0, len(clusters), CLUSTERS_IN_A_ROW)] or [()]
    num_columns = max(len(chunk) for chunk in chunks)
    highest = max((row.high or row.score or 0.0 for row in results.rows), default=0.0)

    with _style("headline"):
        figure, all_axes = _figure(len(chunks), 3.4 * len(chunks) + 0.4)
        for axes, chunk in zip(all_axes, chunks, strict=True):
            for x, held_out in enumerate(chunk):
                _bars(axes, results, held_out, x)
            names = [textwrap.fill(words(name), 24) for name in chunk]
            axes.set_xticks(range(len(chunk)), names, fontsize=10)
            axes.tick_params(axis="x", length=0)
            axes.set_xlim(-0.5, max(num_columns, 1) - 0.5)
            axes.set_ylim(0, min(100, 100 * highest + 8))
            axes.set_ylabel("score, %")
            axes.grid(axis="y", alpha=0.2, linewidth=0.6)
        _legend(figure, results)
        described = "; ".join(
            f"{words(row.held_out)}, {row.arm}: {percent(row.score)} {interval(row.low, row.high)}".rstrip()
            for row in results.rows
        )
        return _svg(
            figure, "headline", f"{shots(results.asked).capitalize()} on each held-out cluster, by arm", described
        )


def template_chart(results: StudyResults) -> str:
    """Dots: one per template, a line per task and arm. How far one wording moves a score."""
    lines = list(dict.fromkeys((row.held_out, row.task) for row in results.details))
    arms = [arm for arm in results.arms if any(row.arm == arm for row in results.details)]
    with _style("templates"):
        figure, (axes,) = _figure(1, 0.9 + len(lines) * (0.2 + 0.14 * max(1, len(arms))))
        for y, (held_out, task) in enumerate(lines):
            if y and lines[y - 1][0] != held_out:
                axes.axhline(y - 0.5, color=INK, linewidth=0.6, alpha=0.4)
            for k, arm in enumerate(arms):
                level = y + (k - (len(arms) - 1) / 2) * 0.75 / max(1, len(arms))
                found = [
                    row.score for row in results.details if (row.held_out, row.task, row.arm) == (held_out, task, arm)
                ]
                scores = [100 * score for score in found if score is not None]
                colour, marker = _style_of(arm, results)
                axes.plot(
                    scores, [level] * len(scores), marker, color=colour, markersize=4.2, alpha=0.75, markeredgewidth=0
                )
        axes.set_yticks(range(len(lines)), [task for _, task in lines], fontsize=8.5)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(max(1, len(lines)) - 0.5, -0.5)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("score of one template, %")
        axes.grid(axis="x", alpha=0.2, linewidth=0.6)
        _legend(figure, results, arms)
        description = f"One dot per template for {len(lines)} tasks; the numbers stand in the table of templates."
        return _svg(figure, "templates", "Score of every template, by task and arm", description)


def _bars(axes: Axes, results: StudyResults, held_out: str, x: int) -> None:
    width = 0.84 / max(1, len(results.arms))
    for k, arm in enumerate(results.arms):
        centre = x + (k - (len(results.arms) - 1) / 2) * width
        row = results.row(held_out, arm)
        if row is None or row.score is None:
            axes.text(centre, 1, MISSING, rotation=90, ha="center", va="bottom", fontsize=7.5, fontstyle="italic")
            continue
        score, top = 100 * row.score, 100 * row.score
        axes.bar(centre, score, 0.92 * width, color=_style_of(arm, results)[0])
        if row.low is not None and row.high is not None:
            top = 100 * row.high
            axes.vlines(centre, 100 * row.low, top, color=INK, linewidth=1.1)
        weight = "bold" if arm == TUNED else "normal"
        axes.text(centre, top + 0.8, percent(row.score), ha="center", va="bottom", fontsize=7.5, fontweight=weight)


def _style_of(arm: str, results: StudyResults) -> tuple[str, str]:
    others = [name for name in results.arms if name not in STYLES]
    return STYLES[arm] if arm in STYLES else OTHER_STYLES[others.index(arm) % len(OTHER_STYLES)]


def _style(salt: str) -> Any:
    """Matplotlib's settings for one picture. `salt` keeps the ids in two pictures of one page apart, and fixed."""
    import matplotlib.style

    settings: dict[str, Any] = {
        "svg.hashsalt": f"openflan {salt}",
        "svg.fonttype": "none",  # text stays text: selectable, searchable, in the page's colour
        "text.parse_math": False,  # a dollar in a dataset's name is a dollar
        "font.family": "sans-serif",
        "font.size": 9,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
        ),
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
    }
    return matplotlib.style.context(["default", settings])  # whatever the user's own matplotlibrc says


def _figure(num_rows: int, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(num_rows, 1, squeeze=False)
    return figure, list(axes[:, 0])


def _legend(figure: Figure, results: StudyResults, arms: list[str] | None = None) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for arm in results.arms if arms is None else arms:
        colour, marker = _style_of(arm, results)
        dot = Line2D([], [], color=colour, marker=marker, linestyle="", label=arm)
        handles.append(Patch(color=colour, label=arm) if arms is None else dot)
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, handlelength=1.2)


def _svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The picture as an `<svg>` element with an accessible title, ids prefixed by `name`, and nothing that dates it."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata=nothing)
    body = buffer.getvalue()
    body = body[body.index("<svg") :].replace(INK, "currentColor")
    for reference in (' id="', "url(#", 'href="#'):
        body = body.replace(reference, f"{reference}{name}-")
    opening, rest = body.split(">", 1)
    labels = (
        f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-desc">{html.escape(description)}</desc>'
    )
    return f'{opening} role="img" aria-labelledby="{name}-title {name}-desc">{labels}{rest}'
