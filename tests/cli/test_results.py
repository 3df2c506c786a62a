"""`openflan results` where some of the evaluations are unfinished."""

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def three(ask, place, tmp_path) -> list[Path]:
    """Evaluations of one task below a folder, the first of them unfinished: 5 of 16 predictions."""
    for shots in (0, 1, 2):
        ask(place, tmp_path / "eval", "--task", "mood", "--shots", shots)
    folders = sorted((tmp_path / "eval").iterdir())
    lines = (folders[0] / "test.jsonl").read_text().splitlines(keepends=True)
    (folders[0] / "test.jsonl").write_text("".join(lines[:5]) + lines[5][:30])
    return folders


def told(folder: Path) -> str:
    return f"{folder}: unfinished, 5 of 16 predictions; repeating its `openflan eval` continues it.\n"


def test_show_leaves_the_unfinished_one_out_and_says_so(call, three):
    ended = call("results", "show", three[0].parent)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(told(three[0]))
    assert ended.out.count("unfinished") == 1 and ended.out.count("Predictions: ") == 2
    value = json.loads(call("results", "show", three[0].parent, "--json").out)
    assert [each["directory"] for each in value["evaluations"]] == [str(folder) for folder in three[1:]]
    assert value["unfinished"] == [{"directory": str(three[0]), "num_predictions": 5, "num_expected": 16}]
    value = json.loads(call("results", "show", *three[1:], "--json").out)
    assert (len(value["evaluations"]), value["unfinished"]) == (2, [])


def test_compare_leaves_the_unfinished_one_out_and_says_so(call, three):
    ended = call("results", "compare", three[0].parent)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(told(three[0])) and ended.out.count("paired (points)") == 1
    value = json.loads(call("results", "compare", three[0].parent, "--json").out)
    assert [each["directory"] for each in value["unfinished"]] == [str(three[0])]
    assert len(value["differences"]) == 1


def test_two_finished_ones_are_needed_to_compare(call, three):
    shutil.rmtree(three[2])
    ended = call("results", "compare", three[0].parent)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"openflan: results compare: found one evaluation ({three[1]}) and unfinished ones ({three[0]}); expected "
        "two or more. Name two directories.\n"
    )


def test_an_unfinished_one_that_is_named_or_alone_is_an_error(call, three):
    expected = (
        f"openflan: {three[0]}/test.jsonl: found 5 predictions; expected 16. Repeat the `openflan eval` that began "
        "it: it continues.\n"
    )
    for command, folders in (("show", three[:1]), ("show", three), ("compare", three[:2])):
        ended = call("results", command, *folders)
        assert (ended.code, ended.out, ended.err) == (2, "", expected)
    for folder in three[1:]:
        shutil.rmtree(folder)
    for command in ("show", "compare"):
        ended = call("results", command, three[0].parent)
        assert (ended.code, ended.out, ended.err) == (2, "", expected)
