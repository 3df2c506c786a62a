"""Freed tensors go back to the system, in a process of their own: the setting is the process's."""

import platform
import subprocess
import sys

import pytest

# glibc raises its threshold to the size of what is freed, up to 32 MiB, and from then on such sizes come from the heap.
# A small tensor behind each large one keeps the heap from shrinking at its end.
CODE = """
import sys
import torch
from openflan.training.heap import give_back_large_tensors

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "yes":
    give_back_large_tensors()
torch.ones(7 << 20)
before = resident_mb()
kept, large = [], []
for _ in range(40):
    large.append(torch.ones(3 << 18))
    kept.append(torch.ones(1 << 12))
del large
print(resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has this setting")
@pytest.mark.parametrize(("given_back", "least", "most"), [("yes", 0, 30), ("no", 100, 200)])
def test_freed_tensors_go_back_to_the_system(given_back, least, most):
    done = subprocess.run([sys.executable, "-c", CODE, given_back], capture_output=True, text=True, check=True)
    assert least <= float(done.stdout) <= most  # 40 tensors of 3 MiB are 126 MB
