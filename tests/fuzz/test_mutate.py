"""The frame itself: what must not pass does not."""

import json
import time

import pytest
from hypothesis import find

from fuzz.mutate import TooLong, json_files, mutated, mutated_bytes, only_openflan_errors
from openflan.errors import DataError


def _raise(error):
    raise error


def test_only_our_errors_pass():
    ours = DataError("a", "b", "c")
    assert only_openflan_errors(_raise, ours) is ours
    assert only_openflan_errors(len, [1]) == 1
    for error in (KeyError("a"), RecursionError(), MemoryError()):
        with pytest.raises(type(error)):
            only_openflan_errors(_raise, error)


def test_time_and_memory_are_limited():
    with pytest.raises(TooLong):
        only_openflan_errors(time.sleep, 5, seconds=1)
    with pytest.raises(MemoryError):
        only_openflan_errors(bytearray, 300_000_000, megabytes=100)


def test_inputs_are_damaged_in_many_ways():
    value = {"a": [1, {"b": "c"}]}
    assert find(mutated_bytes(b"abc"), lambda content: content == b"") == b""
    assert find(mutated(value), lambda new: new == {"a": [1, {"b": None}]})
    assert find(json_files(value), lambda content: b"\\ud83d" in content)
    assert json.dumps(value) == '{"a": [1, {"b": "c"}]}'  # the original stays
