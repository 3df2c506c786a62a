import io

import pytest
from rich.console import Console

from openflan.report.tables import cell, interval, p_value, percent, points, reading, results_table, sort_differences
from openflan.study.compare import Difference, ResultRow, StudyResults


def gap(difference: float | None, low: float | None, high: float | None) -> Difference:
    return Difference(
        held_out="nli",
        a="tuned",
        b="untuned, options",
        difference=difference,
        low=low,
        high=high,
        p_value=0.01,
        adjusted=0.0301,
        detectable=0.0449,
        num_unpaired=0,
    )


def shown(results: StudyResults, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(results_table(results))
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(output, str)
    return output


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.53125, "53.1"), (0.0, "0.0"), (1.0, "100.0"), (-0.0001, "0.0"), (None, "missing")]
)
def test_scores_are_percent_with_one_decimal(fraction: float | None, text: str) -> None:
    assert percent(fraction) == text


def test_differences_carry_a_sign() -> None:
    assert [points(x) for x in (0.0312, -0.0312, 0.0, -0.0001, None)] == ["+3.1", "-3.1", "+0.0", "-0.0", "missing"]


def test_intervals() -> None:
    assert interval(0.49, 0.5725) == "[49.0, 57.2]"
    assert interval(-0.01, 0.02, signed=True) == "[-1.0, +2.0]"
    assert interval(None, 0.5) == ""


def test_a_missing_arm_is_missing_and_a_zero_is_zero() -> None:
    row = ResultRow(held_out="nli", arm="tuned", score=0.0, low=0.0, high=0.0, num_examples=9, num_templates=1)
    assert cell(row) == ("0.0", "[0.0, 0.0]")
    assert cell(row.model_copy(update={"score": None, "low": None, "high": None})) == ("missing", "")
    assert cell(None) == ("missing", "")


OTHER = "untuned, options"
HOLM = "p 0.030 after Holm's correction"
POWER = "4.5 points would show with 80% power"
NOT_DIFFERENT = f"tuned against {OTHER}: no difference shown"


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((0.031, 0.009, 0.054), f"tuned is better than {OTHER} by 3.1 points, 95% interval [+0.9, +5.4], {HOLM}"),
        ((-0.031, -0.054, -0.009), f"tuned is worse than {OTHER} by 3.1 points, 95% interval [-5.4, -0.9], {HOLM}"),
        ((0.012, -0.005, 0.029), f"{NOT_DIFFERENT} (+1.2 points, 95% interval [-0.5, +2.9], {HOLM}; {POWER})"),
        ((0.012, 0.0, 0.029), f"{NOT_DIFFERENT} (+1.2 points, 95% interval [+0.0, +2.9], {HOLM}; {POWER})"),
        ((-0.02, -0.045, -5.55e-17), f"{NOT_DIFFERENT} (-2.0 points, 95% interval [-4.5, +0.0], {HOLM}; {POWER})"),
        ((-0.02, -0.045, -1e-5), f"tuned is worse than {OTHER} by 2.0 points, 95% interval [-4.5, -0.0], {HOLM}"),
        ((None, None, None), f"tuned against {OTHER}: missing"),
    ],
)
def test_a_claim_in_plain_language(bounds: tuple[float | None, ...], text: str) -> None:
    assert reading(gap(*bounds)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.0465, "0.046"), (1, "1.000")]
)
def test_a_p_value_is_never_nothing(value: float, text: str) -> None:
    assert p_value(value) == text
    assert p_value(None) == "missing"


def test_a_claim_that_the_correction_takes_away_is_not_made() -> None:
    found = gap(0.031, 0.009, 0.054).model_copy(update={"adjusted": 0.0501})
    bounds = "95% interval [+0.9, +5.4], p 0.050 after Holm's correction"
    assert reading(found) == f"{NOT_DIFFERENT} (+3.1 points, {bounds}; {POWER})"
    assert found.direction == 0
    assert [found.model_copy(update={"adjusted": p}).direction for p in (0.0499, None)] == [1, 1]  # None: 0.01


def test_the_claims_are_against_both_untuned_prompts(results: StudyResults) -> None:
    gaps = sort_differences(results)
    assert len(gaps) == 7
    assert [(g.held_out, g.b) for g, is_claim in gaps if is_claim] == [
        (held_out, f"untuned, {prompt}")
        for held_out in ("natural_language_inference", "sentiment", "paraphrase")
        for prompt in ("options", "no options")
    ]
    assert [is_claim for _, is_claim in gaps] == [True] * 6 + [False]


def test_a_title_says_how_many_examples_were_shown(results: StudyResults) -> None:
    assert "Zero-shot on the held-out cluster (percent)" in shown(results)
    asked = results.asked.model_copy(update={"num_shots": 2})
    assert "2-shot on the held-out cluster (percent)" in shown(results.model_copy(update={"asked": asked}))
    output = shown(results.model_copy(update={"asked": None}))  # an earlier version did not say
    assert "Scores on the held-out cluster (percent)" in output and "shot" not in output


def test_the_terminal_table_fits_eighty_columns(results: StudyResults) -> None:
    output = shown(results)
    assert max(len(line) for line in output.splitlines()) <= 80
    assert "…" not in output
    for text in ("53.1", "[49.0, 57.2]", "+9.4", "[+5.1, +13.7]", "[31.9, 39.9]"):
        assert output.count(text) == 1, text
    assert output.count("missing") == 3  # an arm not run, an arm without a score, a difference without one
    assert "1,000 of 18,000 prompts unscored, and not counted as wrong: see the report." in " ".join(output.split())
    # Claims have the p-values 0.001, 0.001, 0.01, 0.15 and 0.4, the other difference 0.001.
    told = "paraphrase, tuned - untuned, no options: 1,000 prompts have a score of one side only"
    assert told in " ".join(output.split())
    found = {text: output.count(text) for text in ("0.005", "0.030", "0.300", "0.400", "0.001")}
    assert found == {"0.005": 2, "0.030": 1, "0.300": 1, "0.400": 1, "0.001": 1}
    assert output.index("53.1") < output.index("+9.4")


def test_names_are_text_and_no_markup(results: StudyResults) -> None:
    rows = tuple(
        row.model_copy(update={"held_out": "[red]x[/red]"}) for row in results.rows if row.held_out == "sentiment"
    )
    gaps = tuple(
        g.model_copy(update={"held_out": "[red]x[/red]"}) for g in results.differences if g.held_out == "sentiment"
    )
    output = shown(results.model_copy(update={"rows": rows, "differences": gaps}), width=120)
    assert output.count("[red]x[/red]") == 3


def test_a_table_of_nothing_can_be_shown() -> None:
    assert "held out" in shown(StudyResults(rows=(), differences=(), seconds={}, tasks=(), details=(), runs=()))
