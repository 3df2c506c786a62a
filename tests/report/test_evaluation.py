"""What the terminal shows of evaluations, line by line."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from openflan.report.evaluation import comparison, how, notes, scores, unfinished
from openflan.study.results import (
    AverageResult,
    ComparedAverage,
    ComparedTask,
    EvaluatedTask,
    Evaluation,
    EvaluationRecord,
    MetricResult,
    TaskResult,
    TemplateResult,
    Unfinished,
)

RTE = TaskResult(
    task="rte",
    cluster="natural_language_inference",
    metric="accuracy",
    score=0.53125,
    low=0.49,
    high=0.5725,
    spread=0.0312,
    num_examples=1000,
    num_templates=7,
    num_prompts=7000,
    num_unscored=0,
    num_cut=0,
    num_at_limit=0,
    max_new_tokens=None,
    mean_exemplars=0.0,
    others=(),
    templates=(),
    best_dev=None,
    majority=0.527,
    option_prior=0.473,
    median_margin=1.2,
    tie_rate=0.0,
    signature=None,
)
LONG = RTE.model_copy(
    update={
        "task": "opinion_abstracts_rotten_tomatoes",
        "metric": "squad_v2_exact_match",
        "score": 1.0,
        "low": 1.0,
        "high": 1.0,
        "num_templates": 10,
        "spread": 0.1234,
    }
)
TEXT = RTE.model_copy(
    update={
        "task": "xsum",
        "metric": "rougeL",
        "majority": None,
        "option_prior": None,
        "median_margin": None,
        "tie_rate": None,
    }
)
MEAN = AverageResult(name="natural_language_inference", score=0.5, low=0.4, high=0.6, num_tasks=3)
DIFFERENCE = ComparedTask(
    task="rte",
    difference=0.0312,
    low=0.009,
    high=0.054,
    p_value=0.0063,
    adjusted=0.013,
    detectable=0.0321,
    mcnemar=0.0004,
    num_examples=1000,
    num_unpaired=0,
)


def record(
    *results: TaskResult, settings: dict[str, Any] | None = None, num_dev: int = 0, **changes: Any
) -> EvaluationRecord:
    task = EvaluatedTask(
        metrics=("accuracy",),
        cluster="natural_language_inference",
        dataset="rte",
        num_examples=1000,
        num_dev_examples=num_dev,
        num_templates=7,
        num_rows_dropped=0,
        max_new_tokens=None,
    )
    values = {
        "name": "toy",
        "identity": "abc",
        "model": "models/toy",
        "model_fingerprint": "0123",
        "seed": 0,
        **changes,
    }
    tasks = {result.task: task for result in results or (RTE,)}
    return EvaluationRecord(settings=settings or {}, tasks=tasks, **values)


def evaluation(name: str, folder: str = "runs/toy-0123") -> Evaluation:
    return Evaluation(Path(folder), record(name=name))


def shown(table: RenderableType, width: int = 80) -> list[str]:
    """The lines, with single spaces."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_a_task_with_interval_spread_and_baselines() -> None:
    title, columns, _, *lines = shown(scores(record(), [RTE], []))
    assert title == "toy (zero-shot)"
    assert columns == "task percent 95% interval templates majority prior"
    assert lines == ["rte 53.1 [49.0, 57.2] 7 ±3.1 52.7 47.3", "accuracy, 1,000 rows"]


def test_the_best_template_on_dev_has_a_column_where_it_was_asked_for() -> None:
    best = RTE.model_copy(update={"best_dev": TemplateResult(template="a", score=0.551, num_examples=1000)})
    _, columns, _, *lines = shown(scores(record(RTE, TEXT, num_dev=200), [best, TEXT], []))
    assert columns == "task percent 95% interval templates best dev majority prior"
    assert lines[0] == "rte 53.1 [49.0, 57.2] 7 ±3.1 55.1 52.7 47.3"
    assert lines[2] == "xsum 53.1 [49.0, 57.2] 7 ±3.1 missing"  # no dev row of it could be scored


def test_a_task_without_dev_rows_is_named_where_others_have_some() -> None:
    known = record(RTE, TEXT, num_dev=200)
    none = known.tasks["xsum"].model_copy(update={"num_dev_examples": 0})
    some = known.model_copy(update={"tasks": {**known.tasks, "xsum": none}})
    results = [RTE.model_copy(update={"mean_exemplars": 0.0}), TEXT.model_copy(update={"mean_exemplars": 0.0})]
    assert notes(some, results) == ["xsum: no dev rows, and so no best template."]
    assert notes(known, results) == notes(record(RTE, TEXT), results) == []


def test_other_metrics_of_the_card_stand_below_the_score() -> None:
    other = MetricResult(metric="binary_f1", score=0.7, low=0.65, high=0.75)
    none = MetricResult(metric="macro_f1", score=None, low=None, high=None)
    lines = shown(scores(record(), [RTE.model_copy(update={"others": (other, none)})], []))
    assert lines[4:] == ["accuracy, 1,000 rows", "binary_f1 70.0 [65.0, 75.0]", "macro_f1 missing"]


def test_every_template_stands_below_where_it_is_asked_for() -> None:
    templates = [
        TemplateResult(template=name, score=score, num_examples=9) for name, score in (("a", 0.5), ("b", None))
    ]
    result = RTE.model_copy(update={"templates": tuple(templates)})
    assert shown(scores(record(), [result], [], by_template=True))[4:] == [
        "accuracy, 1,000 rows",
        "a 50.0",
        "b missing",
    ]
    assert shown(scores(record(), [result], []))[4:] == ["accuracy, 1,000 rows"]


def test_units_stand_beside_rows_where_they_are_fewer() -> None:
    assert shown(scores(record(), [RTE.model_copy(update={"num_units": 1000})], []))[4:] == ["accuracy, 1,000 rows"]
    few = RTE.model_copy(update={"num_units": 250})
    assert shown(scores(record(), [few], []))[4:] == ["accuracy, 1,000 rows, 250 units"]


def test_averages_stand_below() -> None:
    lines = shown(scores(record(), [RTE], [MEAN, MEAN.model_copy(update={"name": "all clusters", "score": None})]))
    assert lines[5:] == [
        "natural language inference 50.0 [40.0, 60.0]",
        "over 3 tasks",
        "all clusters missing [40.0, 60.0]",
        "over 3 tasks",
    ]
    first = MEAN.model_copy(update={"cluster_mean": "datasets"})
    assert shown(scores(record(), [RTE], [first]))[-1] == "over 3 tasks, datasets first"


def test_what_has_no_score_is_missing_and_never_zero() -> None:
    nothing = {"score": None, "low": None, "high": None, "spread": None, "majority": None, "option_prior": None}
    lines = shown(scores(record(), [RTE.model_copy(update=nothing)], []))
    assert lines[3] == "rte missing 7"
    zero = {"score": 0.0, "low": 0.0, "high": 0.0, "spread": 0.0}
    assert shown(scores(record(), [RTE.model_copy(update=zero)], []))[3] == "rte 0.0 [0.0, 0.0] 7 ±0.0 52.7 47.3"


@pytest.mark.parametrize("width", [80, 120])
def test_the_longest_names_and_numbers_fit(width: int) -> None:
    best = LONG.model_copy(update={"best_dev": TemplateResult(template="a", score=1.0, num_examples=1000)})
    lines = shown(scores(record(RTE, LONG, num_dev=200), [best, best], [MEAN]), width)
    row = next(line for line in lines if line.startswith("opinion_abs"))
    assert row.endswith("100.0 [100.0, 100.0] 10 ±12.3 100.0 52.7 47.3")
    wide = DIFFERENCE.model_copy(update={"task": LONG.task, "difference": -1.0, "low": -1.0, "high": -1.0})
    lines = shown(comparison(evaluation("a"), evaluation("b"), [DIFFERENCE, wide]), width)
    row = next(line for line in lines if line.startswith("opinion_abs"))
    assert row.endswith("-100.0 [-100.0, -100.0] 0.006 0.013 <0.001 3.2")


def test_mcnemars_test_of_units_is_told() -> None:
    told = "McNemar's test counts a unit of several rows once: rte."
    for num_units, is_told in ((None, False), (1000, False), (250, True)):
        lines = shown(
            comparison(evaluation("a"), evaluation("b"), [DIFFERENCE.model_copy(update={"num_units": num_units})])
        )
        assert (told in " ".join(lines)) == is_told
        assert ("1,000 rows, 250 units" in " ".join(lines)) == is_told


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_cuts_no_number(width: int) -> None:
    best = LONG.model_copy(update={"best_dev": TemplateResult(template="a", score=1.0, num_examples=1000)})
    text = " ".join(shown(scores(record(RTE, LONG, num_dev=200), [best], [MEAN]), width))
    for number in ("100.0", "[100.0, 100.0]", "10 ±12.3", "52.7", "47.3", "50.0", "[40.0, 60.0]"):
        assert number in text
    wide = DIFFERENCE.model_copy(update={"task": LONG.task, "difference": -1.0, "low": -1.0, "high": -1.0})
    text = " ".join(shown(comparison(evaluation("a"), evaluation("b"), [wide]), width))
    for number in ("-100.0", "[-100.0, -100.0]", "0.006", "0.013", "<0.001", "3.2"):
        assert number in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "zero-shot"),
        ({"num_shots": 0, "prompt": "templates"}, "zero-shot"),
        ({"num_shots": 4, "exemplars": "per_example"}, "4 shots, per example"),
        ({"num_shots": 16, "exemplars": "fixed", "prompt": "completion"}, "16 shots, fixed, completion prompts"),
        ({"show_options": True, "chat_template": False, "dtype": "float32"}, "zero-shot"),
        (
            {"show_options": False, "chat_template": True, "dtype": "bfloat16"},
            "zero-shot, options not listed, chat template, bfloat16",
        ),
    ],
)
def test_how_prompts_were_asked(settings: dict[str, Any], words: str) -> None:
    assert how(record(settings=settings)) == words


def test_there_is_nothing_to_note_where_all_went_well() -> None:
    assert notes(record(settings={"num_shots": 4}), [RTE.model_copy(update={"mean_exemplars": 4.0})]) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_unscored": 12}, "12 of 7,000 prompts unscored, and not counted as wrong"),
        ({"num_cut": 3000}, "3,000 of 7,000 prompts lost words to fit"),
        ({"num_at_limit": 7, "max_new_tokens": 64}, "7 of 7,000 prompts were answered up to the limit of 64 tokens"),
        ({"tie_rate": 0.125}, "12.5% of answers tied, credit shared"),
        ({"median_margin": 0.0123}, "half of the answers lead by 0.012 nats or less"),
        ({"median_margin": 0.0}, "half of the answers lead by 0.000 nats or less"),
        ({"mean_exemplars": 2.57}, "2.6 exemplars fitted on average"),
        ({"signature": "nrefs:1|case:mixed"}, "BLEU is sacrebleu's nrefs:1|case:mixed"),
    ],
)
def test_what_a_score_does_not_show_is_noted(changes: dict[str, Any], text: str) -> None:
    result = RTE.model_copy(update={"mean_exemplars": 4.0} | changes)
    assert notes(record(settings={"num_shots": 4}), [result]) == [f"rte: {text}."]


def test_notes_of_one_task_stand_together_and_those_of_all_first() -> None:
    read = record(reading="packs under a mask, at most 128 positions")
    assert notes(read, [])[0] == "Model: packs under a mask, at most 128 positions."
    known = record(warning="attention that leaks", server="prompts as text")
    dropped = known.tasks["rte"].model_copy(update={"num_rows_dropped": 3, "num_rows_merged": 2})
    known = known.model_copy(update={"tasks": {"rte": dropped}})
    result = RTE.model_copy(update={"num_unscored": 1, "num_prompts": 7})
    expected = [
        "Slow: sequences were scored one at a time, because of attention that leaks.",
        "Asked through a server: prompts as text.",
        "rte: 1 of 7 prompts unscored, and not counted as wrong; 3 rows dropped; "
        "2 rows merged into an earlier row with the same input.",
    ]
    assert notes(known, [result]) == expected
    assert shown(scores(known, [result], []), width=140)[5:] == expected


def test_paired_differences_with_p_values() -> None:
    missing = dict.fromkeys(("difference", "low", "high", "p_value", "adjusted", "detectable", "mcnemar"))
    none = DIFFERENCE.model_copy(update={"task": "cb", "num_examples": 56} | missing)
    title, columns, _, *lines = shown(comparison(evaluation("tuned"), evaluation("base"), [DIFFERENCE, none]))
    assert title == "tuned - base, paired (points)"
    assert columns == "task points 95% interval p p (Holm) McNemar detectable"
    assert lines == [
        "rte +3.1 [+0.9, +5.4] 0.006 0.013 <0.001 3.2",
        "1,000 rows",
        "cb missing missing missing missing missing",
        "56 rows",
    ]


def test_an_unfinished_evaluation_is_a_line() -> None:
    line = "runs/toy-0123: unfinished, 1,200 of 14,000 predictions; repeating its `openflan eval` continues it."
    assert unfinished(Unfinished(Path("runs/toy-0123"), 1200, 14000)) == line


def test_a_model_that_was_asked_in_two_ways_is_told_apart() -> None:
    both = evaluation("toy", "runs/toy-0123"), evaluation("toy", "runs/toy-4567")
    assert shown(comparison(*both, [DIFFERENCE]))[0] == "toy-0123 - toy-4567, paired (points)"


def test_another_normalisation_is_named_and_its_leads_are_no_nats() -> None:
    close = RTE.model_copy(update={"median_margin": 0.01})
    lines = shown(scores(record(), [close], [], "per_byte"))
    assert lines[0] == "toy (zero-shot, options compared per byte)"
    assert lines[-1] == "accuracy, 1,000 rows"
    both = evaluation("a"), evaluation("b")
    assert shown(comparison(*both, [DIFFERENCE], (), "pmi"))[0] == "a - b, paired (points, options compared by PMI)"


def test_differences_of_averages_stand_below() -> None:
    mean = ComparedAverage(
        name="natural_language_inference",
        difference=-0.0123,
        low=-0.05,
        high=0.0261,
        p_value=0.53,
        detectable=0.0544,
        num_tasks=4,
    )
    lines = shown(comparison(evaluation("a"), evaluation("b"), [DIFFERENCE], [mean]))
    assert lines[5:] == ["natural language -1.2 [-5.0, +2.6] 0.530 5.4", "inference", "over 4 tasks"]


def test_prompts_that_only_one_model_answered_are_told() -> None:
    left_out = DIFFERENCE.model_copy(update={"num_unpaired": 1234})
    lines = shown(comparison(evaluation("a"), evaluation("b"), [left_out]), width=120)
    assert lines[-1] == "rte: 1,234 prompts have a score of one side only, and are left out of the difference."


def test_names_are_text_and_no_markup() -> None:
    result = RTE.model_copy(update={"task": "[red]x[/red]"})
    mean = MEAN.model_copy(update={"name": "[b]y[/b]"})
    text = "\n".join(shown(scores(record(result, name="[i]z[/i]"), [result], [mean])))
    for name in ("[red]x[/red]", "[b]y[/b]", "[i]z[/i]"):
        assert name in text
