import pytest

from openflan.errors import ConfigError
from openflan.evaluation.requests import limits_of_prompts, max_new_tokens
from openflan.models.settings import ModelSettings
from openflan.study.run_one import limits
from openflan.tokens.encode import Lengths
from toys import toy_task


@pytest.mark.parametrize(
    ("positions", "max_new", "longest_prompt", "longest_answer"),
    [
        (1024, 64, 960, 64),
        (4096, 64, 1024, 64),
        (4096, 4000, 1024, 3072),
        (1024, 400, 768, 256),  # no more than max_target_tokens are kept for an answer,
        (128, 100, 64, 64),  # nor than half of the positions
    ],
)
def test_prompts_for_a_text_leave_room_for_it(positions, max_new, longest_prompt, longest_answer):
    task = toy_task(kind="text", max_new_tokens=max_new)
    lengths = limits(ModelSettings(), positions)
    assert limits_of_prompts(task, lengths).max_input_tokens == longest_prompt
    assert max_new_tokens(task, lengths) == longest_answer


@pytest.mark.parametrize("positions", [128, 1024, 1 << 30])
def test_prompts_with_options_leave_room_for_the_longest_one_alone(positions):
    lengths = limits(ModelSettings(), positions)
    assert limits_of_prompts(toy_task(), lengths) == Lengths(1024, positions, positions)


def test_training_keeps_the_recipes_limits_within_the_positions():
    assert limits(ModelSettings(max_input_tokens=90, max_target_tokens=20), 64) == Lengths(90, 20, 64)
    with pytest.raises(ConfigError, match="found 1 positions"):
        limits(ModelSettings(), 1)
