import inspect

import pytest

from openflan import errors
from openflan.errors import CatalogError, OpenFlanError, did_you_mean


def test_the_tree_in_the_docstring_is_the_tree():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, OpenFlanError)]
    assert len(classes) == 7
    for cls in classes:
        assert f"{cls.__name__} " in errors.__doc__ or f"{cls.__name__}\n" in errors.__doc__
        assert cls is OpenFlanError or cls.__bases__ == (OpenFlanError,)
        assert cls.__doc__


def test_a_message_says_where_what_was_found_and_expected_and_what_to_do():
    error = CatalogError("rte.yaml", "no templates", "one or more", "Add one.")
    assert str(error) == "rte.yaml: found no templates; expected one or more. Add one."
    assert str(CatalogError("rte.yaml", "no templates", "one or more")) == (
        "rte.yaml: found no templates; expected one or more."
    )
    assert (error.where, error.found, error.expected, error.do) == (
        "rte.yaml",
        "no templates",
        "one or more",
        "Add one.",
    )


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("anli_r4", ["rte", "anli_r1", "anli_r2", "cb"], "Did you mean anli_r2 or anli_r1?"),
        ("zzz", ["rte", "cb", "cb"], "Known: cb, rte."),
        ("zzz", [], "Known: ."),
        ("zzz", [f"t{i:02}" for i in range(25)], "Known: " + ", ".join(f"t{i:02}" for i in range(20)) + ", ...."),
    ],
)
def test_did_you_mean(name, known, expected):
    assert did_you_mean(name, known) == expected


def test_a_message_can_be_printed_and_read_whatever_is_in_it():
    error = OpenFlanError("\ud83d", "x" * 10_000, "text")
    assert str(error).startswith("\\ud83d: found xxx") and "... (10,000 characters)" in str(error)
    assert len(str(error)) < 5_000
    error = OpenFlanError("row 1", "no field", did_you_mean("\ud83d", ["\ud83e"]), did_you_mean("z", ["\ud83f"]))
    assert "\\ud83e" in str(error) and str(error).endswith("\\ud83f.")
    str(error).encode()
