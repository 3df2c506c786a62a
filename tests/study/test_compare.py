import json

import pytest

from openflan.errors import RunError
from openflan.study.compare import Asked, Detail, Difference, ResultRow, Run, StudyResults, TaskRow

ROW = {"held_out": "nli", "arm": "tuned", "score": 0.5, "low": 0.4, "high": 0.6, "num_examples": 40}
ROW |= {"num_units": 20, "num_templates": 5}
GAP = {"held_out": "nli", "a": "tuned", "b": "untuned, options", "difference": 0.1, "low": 0.0, "high": 0.2}
GAP |= {"p_value": 0.05, "adjusted": 0.1, "detectable": 0.14, "num_unpaired": 0}
TASK = {**ROW, "task": "rte", "metric": "accuracy", "spread": 0.01, "num_prompts": 200, "num_unscored": 1, "num_cut": 2}
TASK |= {"num_at_limit": 0, "median_margin": 0.5, "tie_rate": 0.0, "signature": None}
DETAIL = {"held_out": "nli", "arm": "tuned", "task": "rte", "template": "t", "score": None, "num_examples": 0}
RUN = {
    "directory": "runs/nli",
    "held_out": "nli",
    "arms": ["tuned"],
    "model": "base",
    "seed": 0,
    "command": "openflan demo",
    "trained_on": ["sst2"],
    "evaluated_on": ["rte"],
    "excluded": {"qnli": "derived from squad"},
    "fingerprints": {"plan": "abc"},
}
RESULTS = {"rows": [ROW], "differences": [GAP], "seconds": {"tune": 1.5}, "tasks": [TASK], "details": [DETAIL]}
RESULTS |= {"runs": [RUN], "asked": {"num_shots": 2, "prompt": "templates", "cluster_mean": "tasks"}}


def test_the_file_reads_back_and_keeps_its_form() -> None:
    results = StudyResults.from_json(json.loads(json.dumps(RESULTS)))
    assert results.to_json() == RESULTS
    assert results == StudyResults(
        rows=(ResultRow.model_validate(ROW),),
        differences=(Difference.model_validate(GAP),),
        seconds={"tune": 1.5},
        tasks=(TaskRow.model_validate(TASK),),
        details=(Detail.model_validate(DETAIL),),
        runs=(Run.model_validate(RUN),),
        asked=Asked(num_shots=2, prompt="templates", cluster_mean="tasks"),
    )


def test_results_of_an_earlier_version_are_read() -> None:
    value = json.loads(json.dumps(RESULTS))
    del value["asked"], value["rows"][0]["num_units"], value["tasks"][0]["num_units"]
    results = StudyResults.from_json(value)
    assert (results.asked, results.rows[0].num_units, results.tasks[0].num_units) == (None, None, None)


def test_unknown_and_missing_keys_are_told_at_once() -> None:
    row = {**ROW, "scores": 0.5}
    del row["score"]
    with pytest.raises(
        RunError, match=r"results.json: found (?=.*rows\.0\.scores \(unknown)(?=.*rows\.0\.score: .*required)"
    ):
        StudyResults.from_json({**RESULTS, "rows": [row]})


@pytest.mark.parametrize("key", [key for key in RESULTS if key != "asked"])
def test_every_key_is_required(key: str) -> None:
    with pytest.raises(RunError, match=key):
        StudyResults.from_json({name: value for name, value in RESULTS.items() if name != key})


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(RunError, match=r"rows\.0\.score"):
        StudyResults.from_json(json.loads(json.dumps({**RESULTS, "rows": [{**ROW, "score": float("nan")}]})))


def test_one_row_for_each_cluster_and_arm() -> None:
    with pytest.raises(RunError, match="`rows` has two entries for nli, tuned"):
        StudyResults.from_json({**RESULTS, "rows": [ROW, ROW]})


def test_the_claims_are_the_tuned_model_against_either_untuned_prompt() -> None:
    arms = ("untuned, options", "untuned, no options", "tuned, shuffled labels")
    gaps = [Difference.model_validate({**GAP, "b": arm}) for arm in arms]
    assert [gap.is_claim for gap in gaps] == [True, True, False]


def test_order_of_clusters_and_arms_is_that_of_the_rows() -> None:
    rows = [{**ROW, "held_out": "b"}, {**ROW, "held_out": "b", "arm": "majority"}, {**ROW, "held_out": "a"}]
    results = StudyResults.from_json({**RESULTS, "rows": rows})
    assert results.held_out == ("b", "a")
    assert results.arms == ("tuned", "majority")
    assert results.row("a", "majority") is None
