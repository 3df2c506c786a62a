"""Patterns that strangers' texts meet: a long run of one character takes no time that grows with its square."""

import pytest

from fuzz.mutate import only_openflan_errors
from openflan.tasks import odd_rows, odd_texts
from openflan.templates import joints, render
from openflan.tokens import encode

RUNS = [run * 300_000 for run in (" ", "\n", "x", ".", "[", "{{", "a ", "\t", "\\", "(", "'")]
READERS = {
    "wikihow mark": odd_rows._WIKIHOW_MARK.findall,
    "dateline": odd_texts._DATELINE.findall,
    "byline": odd_texts._BYLINE.findall,
    "indexed": encode._INDEXED.findall,
    "options block": render._without_block.__wrapped__,
    **{name: pattern.findall for name, pattern in joints._PROBLEMS},
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_long_runs(read):
    for run in RUNS:
        only_openflan_errors(read, run, seconds=3)
