import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from openflan.config import load_recipe
from openflan.evaluation.predictions import Prediction
from openflan.study.compare import SHUFFLED, UNTUNED, Asked, Difference, StudyResults
from openflan.study.execute import correct, gather
from toys import toy_task


def write(path: Path, **right: str) -> None:
    """Predictions on several tasks: `1` is right, `0` is wrong, `-` could not be asked. Gold is the first option."""
    logprobs = {"1": (-1.0, -2.0), "0": (-2.0, -1.0)}
    rows = [
        Prediction(f"{task}/test/{n}", task, "a", 0, logprobs[letter], (1, 1), (1, 1), None, ())
        if letter in logprobs
        else Prediction(f"{task}/test/{n}", task, "a", None, (), (), (), None, (), unscored="too_long_prompt")
        for task, letters in right.items()
        for n, letter in enumerate(letters)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))


def test_parts_of_a_dataset_are_averaged_first_where_a_recipe_says_so(tmp_path) -> None:
    changes = ["shuffled_labels=false", "evaluation.cluster_mean=datasets"]
    config = load_recipe(Path("demo"), changes)
    rounds = [toy_task(f"anli_r{n}", dataset="anli") for n in (1, 2, 3)]
    part = SimpleNamespace(held_out="nli", evaluated=[*rounds, toy_task("rte")], trained=[], excluded=[])
    part.plan = SimpleNamespace(fingerprint="0123")
    nothing = {"anli_r1": "0000", "anli_r2": "0000", "anli_r3": "000-", "rte": "0000"}
    write(tmp_path / "nli" / "untuned" / "predictions" / "options.jsonl", **nothing)
    write(tmp_path / "nli" / "untuned" / "predictions" / "no-options.jsonl", **nothing | {"rte": "1111"})
    tuned = {"anli_r1": "1111", "anli_r2": "1100", "anli_r3": "000-", "rte": "1111"}
    write(tmp_path / "nli" / "tuned" / "predictions" / "options.jsonl", **tuned)
    results = gather(config, tmp_path, "4567", [part], "openflan run")
    scores = {row.arm: row.score for row in results.rows}
    # of 0.5 and 1; the mean of the four tasks is 0.625
    assert results.asked == Asked(num_shots=0, prompt="templates", cluster_mean="datasets")
    assert scores == {"untuned, options": 0.0, "untuned, no options": 0.5, "tuned": 0.75, "majority": 1.0}
    equal = gather(load_recipe(Path("demo"), changes[:1]), tmp_path, "4567", [part], "openflan run")
    assert equal.asked is not None and equal.asked.cluster_mean == "tasks"
    assert {row.arm: row.score for row in equal.rows} == scores | {"untuned, no options": 0.25, "tuned": 0.625}
    assert [gap.difference for gap in equal.differences] == [0.625, 0.375]
    assert [(gap.b, gap.difference) for gap in results.differences] == [(UNTUNED[0], 0.75), (UNTUNED[1], 0.25)]
    first, second = results.differences
    assert first.p_value < 0.01 and 0 < first.detectable < 0.75
    assert second.low <= 0.25 <= second.high
    tasks = {row.task: row for row in results.tasks if row.arm == "tuned"}
    assert {name: row.score for name, row in tasks.items()} == {"anli_r1": 1, "anli_r2": 0.5, "anli_r3": 0, "rte": 1}
    assert {name: row.num_unscored for name, row in tasks.items()} == {
        "anli_r1": 0,
        "anli_r2": 0,
        "anli_r3": 1,
        "rte": 0,
    }
    assert (tasks["rte"].metric, tasks["rte"].median_margin, tasks["rte"].tie_rate) == ("accuracy", 1.0, 0.0)


def test_p_values_are_corrected_over_the_claims_and_over_all_others() -> None:
    """Claims, against either untuned prompt: 0.01, 0.04, 0.03 and none; the others: 0.02 and 0.5."""
    p_values = {"nli": (0.01, 0.04, 0.02), "sentiment": (None, 0.03, 0.5)}
    unknown = dict.fromkeys(("difference", "low", "high", "detectable"))
    gaps = [
        Difference(held_out=cluster, a="tuned", b=arm, p_value=p, num_unpaired=0, **unknown)
        for cluster, found in p_values.items()
        for arm, p in zip((*UNTUNED, SHUFFLED), found, strict=True)
    ]
    results = StudyResults(rows=(), differences=gaps, seconds={}, tasks=(), details=(), runs=())
    assert [(gap.held_out, gap.b, gap.p_value, gap.adjusted) for gap in correct(results).differences] == [
        ("nli", "untuned, options", 0.01, pytest.approx(0.03)),
        ("nli", "untuned, no options", 0.04, pytest.approx(0.06)),
        ("nli", "tuned, shuffled labels", 0.02, pytest.approx(0.04)),
        ("sentiment", "untuned, options", None, None),
        ("sentiment", "untuned, no options", 0.03, pytest.approx(0.06)),
        ("sentiment", "tuned, shuffled labels", 0.5, 0.5),
    ]
