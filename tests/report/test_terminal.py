"""Tables at every width: each number that was given stands in what is shown, whole, and no line is too long."""

import io
import re

import pytest
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from openflan.report.plan import plan_text
from openflan.report.tables import results_table
from openflan.report.terminal import Fitting
from openflan.study.compare import StudyResults

WIDTHS = (40, 60, 80, 120)


def shown(renderable: RenderableType, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_results_of_a_study_have_every_number(results: StudyResults, width: int) -> None:
    output = shown(results_table(results), width)
    assert max(map(len, output.splitlines())) <= width
    numbers = re.findall(r"[+-]?[\d.]+", output)
    for row in results.rows:
        if row.score is not None:
            assert f"{100 * row.score:.1f}" in numbers
            assert f"[{100 * row.low:.1f}, {100 * row.high:.1f}]" in output
    for gap in results.differences:
        if gap.difference is not None:
            assert f"{100 * gap.difference:+.1f}" in numbers
            assert f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]" in output
    assert "…" not in output
    assert len(re.findall(r"majority", output)) == (1 if width >= 80 else 3)  # a column, or a line for each cluster


@pytest.mark.parametrize("width", WIDTHS)
def test_hundreds_are_whole_too(results: StudyResults, width: int) -> None:
    rows = tuple(row.model_copy(update={"score": 1.0, "low": 1.0, "high": 1.0}) for row in results.rows)
    output = shown(results_table(results.model_copy(update={"rows": rows})), width)
    assert output.count("[100.0, 100.0]") == len(rows) == 14
    assert max(map(len, output.splitlines())) <= width


def test_rows_are_stacked_only_where_columns_do_not_fit() -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, title="title")
    table.add_column("task", overflow="fold")
    for name in ("percent", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(Text("opinion_abstracts_rotten_tomatoes\n rougeL"), Text("53.1"), Text("[49.0, 57.2]"))
    table.add_row(Text("rte"), Text("5.0"), Text(""))
    wide, narrow = shown(Fitting(table), 35).splitlines(), shown(Fitting(table), 32)
    assert [" ".join(line.split()) for line in wide if line.strip()][1:] == [
        "task percent 95% interval",
        "─" * 33,
        "opinion_abst 53.1 [49.0, 57.2]",
        "racts_rotten",
        "_tomatoes",
        "rougeL",
        "rte 5.0",
    ]
    assert [line.rstrip() for line in narrow.splitlines()] == [
        "title",
        "opinion_abstracts_rotten_tomatoe",
        "s",
        " rougeL",
        "  percent      53.1",
        "  95% interval [49.0, 57.2]",
        "rte",
        "  percent 5.0",
    ]


PLAN = {
    "held_out": "natural_language_inference",
    "fingerprint": "0123456789abcdef",
    "num_examples": 9_000,
    "clusters": {"sentiment": {"requested_share": 1.0, "achieved_share": 0.9876, "num_examples": 9_000}},
    "tasks": {"yelp_polarity_reviews": {"cluster": "sentiment", "requested_share": 1.0, "achieved_share": 0.9876}},
    "overlap": {"action": "stop", "num_rows": 0, "by_task": {}, "num_boilerplate_ngrams": 0},
    "excluded": {f"task_{n}": "its cluster, natural_language_inference, is held out" for n in range(3)},
    "num_rows_dropped": {},
}
for kind in ("clusters", "tasks"):
    for row in PLAN[kind].values():  # type: ignore[attr-defined]
        row |= {"num_rows_used": 9_000, "num_rows_available": 560_000, "num_examples": 9_000, "num_inverted": 0}
        row |= {"num_inverted_templates": 2}
MIXTURE = {"inverted_share": None, "style": "instruction", "few_shot_share": 0.0}


@pytest.mark.parametrize("width", (*WIDTHS, None))
def test_a_plan_is_broken_between_words_alone(width: int | None) -> None:
    lines = plan_text(PLAN, MIXTURE, width).splitlines()
    assert max(map(len, lines)) <= (width or 120)
    text = " ".join(" ".join(lines).split())
    assert text.count("9,000 of 560,000") == 2 and text.count("98.8%") == 2
    assert text.count("its cluster, natural_language_inference, is held out") == 3
    assert all(line.startswith("  ") for line in lines[1:] if line)
    assert len(lines) == len(plan_text(PLAN, MIXTURE).splitlines()) or width in (40, 60, 80)
