"""What a step leaves behind: its record, a token store, a checkpoint. Damaged, it is named or made anew."""

import json

import numpy as np
import torch

from fuzz.mutate import fuzz, json_files, mutated_bytes, only_openflan_errors
from openflan import files
from openflan.errors import RunError
from openflan.finished import finish, is_finished, signed
from openflan.study.directory import check_directory
from openflan.study.execute import _numbers
from openflan.tokens.store import NAME, Chunk, TokenStore, stored
from openflan.training.checkpoint import Checkpoints
from openflan.training.log import _rows_before
from openflan.training.ranks import Ranks
from openflan.training.settings import TrainSettings

FACTS = {"environment": {"openflan": "1", "packages": {"torch": "2"}}, "totals": {"num_updates": 3}, "log": []}
RECORD = signed({"made_from": "a", "files": {"weights": "0123456789abcdef"}, "facts": FACTS})
LINE = {"update": 0, "loss": 1.5, "num_tokens": 9, "num_padding": 1, "supervised_per_second": 2.0}
CHUNKS = (Chunk("mood", [0, 4], [(5, 6, 7), (8, 9)], [2, 1]), Chunk("name", [5], [[1] * 300], [4]))


@fuzz(json_files(RECORD))
def test_record(tmp_path, content):
    """Whatever it says, a file that it does not know is not taken for finished."""
    (tmp_path / "weights").write_bytes(b"other weights")
    (tmp_path / files.DONE).write_bytes(content)
    assert only_openflan_errors(is_finished, tmp_path) is not True


@fuzz(mutated_bytes(b"\0" * 100 + b"weights" * 100))
def test_artefact(tmp_path, content):
    whole = b"\0" * 100 + b"weights" * 100
    (tmp_path / "weights").write_bytes(whole)
    finish(tmp_path, ["weights"])
    (tmp_path / "weights").write_bytes(content)
    assert (only_openflan_errors(is_finished, tmp_path) is True) is (content == whole)


@fuzz(json_files({"fingerprint": "ours", "config": {"seed": 0}}))
def test_directory(tmp_path, content):
    (tmp_path / files.RUN).write_bytes(content)
    (tmp_path / files.ENVIRONMENT).write_bytes(content)
    assert isinstance(only_openflan_errors(check_directory, tmp_path, "ours"), RunError)


@fuzz(json_files(LINE))
def test_progress(tmp_path, content):
    assert isinstance(only_openflan_errors(_numbers, content), dict)
    (tmp_path / files.TRAIN_LOG).write_bytes(content + b"\n" + json.dumps(LINE).encode() + b"\n")
    rows = only_openflan_errors(lambda: list(_rows_before(5, tmp_path / files.TRAIN_LOG)))
    assert rows[-1] == LINE


@fuzz(mutated_bytes(b"x" * 3000))
def test_token_store(tmp_path, content):
    """Bytes are changed in the same places as in `content`."""
    folder = tmp_path / "key"
    whole = stored(tmp_path, "key", lambda: iter(CHUNKS))
    before = (folder / NAME).read_bytes()
    changed = bytes(a ^ b ^ ord("x") for a, b in zip(before, content, strict=False)) + before[len(content) :]
    (folder / NAME).unlink()
    (folder / NAME).write_bytes(changed if len(content) >= 2500 else before[: len(content)])
    again = only_openflan_errors(stored, tmp_path, "key", lambda: iter(CHUNKS))
    assert isinstance(again, TokenStore)
    assert again.counts == whole.counts and np.array_equal(again.lengths, whole.lengths)
    assert all(np.array_equal(again.ids(i), ids) for i, ids in enumerate(ids for c in CHUNKS for ids in c.ids))


@fuzz(mutated_bytes(b"x" * 2000))
def test_checkpoint(tmp_path, content):
    """The same; weights that are read are those that were saved."""
    torch.manual_seed(0)
    model, other = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(8)).sum().backward()
    optimizer.step()
    checkpoints = Checkpoints(tmp_path, "a run", 1, Ranks(TrainSettings(), tmp_path))
    checkpoints.save(3, model, [optimizer])
    [path] = checkpoints.paths()
    before = path.read_bytes()
    changed = bytes(a ^ b ^ ord("x") for a, b in zip(before, content, strict=False)) + before[len(content) :]
    path.write_bytes(changed if len(content) >= 1500 else before[: len(content)])
    found = only_openflan_errors(checkpoints.load, other, [torch.optim.AdamW(other.parameters())])
    if found == 3:
        assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)
    else:
        assert isinstance(found, RunError) and path.name in str(found)
