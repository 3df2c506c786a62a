import dataclasses
import json
import math

import pytest

from openflan.errors import RunError
from openflan.evaluation.predictions import Prediction

CHOICE = Prediction("rte/test/3", "rte", "follows", 1, (-2.5, -0.1), (2, 1), (3, 2), None, ())
TEXT = Prediction("nq/test/0", "nq", "plain", None, (), (), (), "Zoë", ("Zoe", "Zoë"))


@pytest.mark.parametrize("prediction", [CHOICE, TEXT])
def test_json_gives_back_the_same_prediction(prediction: Prediction) -> None:
    assert Prediction.from_json(json.loads(json.dumps(prediction.to_json()))) == prediction


def test_json_form_is_fixed() -> None:
    assert CHOICE.to_json() == {
        "uid": "rte/test/3",
        "task": "rte",
        "template": "follows",
        "gold": 1,
        "logprobs": [-2.5, -0.1],
        "num_tokens": [2, 1],
        "num_bytes": [3, 2],
        "text": None,
        "references": [],
    }


def test_fp32_sums_survive_exactly() -> None:
    value = CHOICE.to_json() | {"logprobs": [-0.10000000149011612, math.nan]}
    back = Prediction.from_json(json.loads(json.dumps(value)))
    assert back.logprobs[0] == -0.10000000149011612
    assert math.isnan(back.logprobs[1])


def test_a_missing_and_an_unknown_key_are_both_named() -> None:
    value = CHOICE.to_json() | {"scores": []}
    del value["gold"]
    with pytest.raises(RunError, match="rte/test/3: found keys missing or unknown: gold, scores"):
        Prediction.from_json(value)


@pytest.mark.parametrize("wrong", [{"logprobs": 3}, {"num_tokens": ["x", "y"]}, {"gold": "one"}])
def test_a_mistyped_value_is_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(RunError, match="a value of the wrong kind"):
        Prediction.from_json(CHOICE.to_json() | wrong)


def test_counts_and_gold_must_fit_the_options() -> None:
    with pytest.raises(RunError, match="rte/test/3, template follows: found 2 log-probs, 1 token and 2 byte counts"):
        Prediction.from_json(CHOICE.to_json() | {"num_tokens": [2]})
    with pytest.raises(RunError, match="gold 2 of 2 options"):
        Prediction.from_json(CHOICE.to_json() | {"gold": 2})


def test_optional_fields_are_stored_only_where_there_are_any() -> None:
    both = dataclasses.replace(CHOICE, prior_logprobs=(-1.5, -0.5), group="q1")
    value = both.to_json()
    assert (value["prior_logprobs"], value["group"]) == ([-1.5, -0.5], "q1")
    assert Prediction.from_json(json.loads(json.dumps(value))) == both
    assert set(value) - set(CHOICE.to_json()) == {"prior_logprobs", "group"}
    with pytest.raises(RunError, match="found 1 prior log-probs of 2 options; expected one for each option, or none"):
        dataclasses.replace(CHOICE, prior_logprobs=(-1.5,))
