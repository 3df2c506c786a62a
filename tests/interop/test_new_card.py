"""What the imports of all forms share: names, and whether a prompt lists its options."""

import pytest

from openflan.interop.new_card import distinct, shows_options


def test_names_that_differ_whatever_they_end_in():
    assert distinct(["A 2", "A", "A", "a 2"]) == ["a-2", "a", "a-3", "a-2-2"]
    assert len({*distinct(["x" * 70] * 12)}) == 12
    assert max(map(len, distinct(["x" * 70] * 12))) == 64


@pytest.mark.parametrize(
    ("prompt", "options", "shown"),
    [
        ("Is it true or false?", ("True", "False"), True),
        ("Is it true?", ("True", "False"), False),
        ("A. ebb B. flood", ("A", "B"), True),
        ("is a tide b?", ("A", "B"), False),
        ("entailment or not entailment?", ("entailment", "not entailment"), True),
        ("Is it not entailment?", ("entailment", "not entailment"), False),
        ("Now, or another time: yes?", ("no", "yes"), False),
        ("1 to 3 (or 2)", ("1", "2", "3"), True),
        ("(+) or c++?", ("+", "c++"), True),
        ("Choose: 好 / 坏", ("好", "坏"), True),
    ],
)
def test_whether_a_prompt_names_every_option(prompt, options, shown):
    assert shows_options(prompt, options) == shown
