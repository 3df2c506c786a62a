"""Folders whose files are damaged in ways of their own, each told in its own words."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from openflan.errors import ModelError
from openflan.models.folder import end_ids, model_fingerprint, model_folder
from openflan.models.load import load_model
from openflan.models.settings import ModelSettings
from openflan.models.tokenizer import load_tokenizer

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 5\n"


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
def test_a_link_to_nothing_is_told(name, folder):
    (folder / name).unlink()
    (folder / name).symlink_to(folder / "blobs" / "gone")
    for use in (model_folder, model_fingerprint, lambda path: load_model(ModelSettings(path=path))):
        with pytest.raises(ModelError, match=f"{name}: found a link to a file that is not there"):
            use(str(folder))


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_told(name, folder):
    (folder / name).write_text(POINTER)
    with pytest.raises(ModelError, match=f"{name}: found a pointer of Git LFS.*Run `git lfs pull`"):
        model_folder(str(folder))


def test_a_tokenizer_alone_is_checked_and_weights_are_not_missed(folder):
    (folder / WEIGHTS).write_text(POINTER)
    assert load_tokenizer(str(folder)).eos_token_id == 0
    assert model_folder(str(folder), needs_weights=False) == folder
    (folder / "tokenizer.json").write_text(POINTER)
    with pytest.raises(ModelError, match="a pointer of Git LFS"):
        load_tokenizer(str(folder))


def test_a_file_that_never_ends_is_not_opened(folder):
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(ModelError, match=r"tokenizer.json: found no regular file"):
        model_folder(str(folder))


@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 3000, "nul\0byte"])
def test_a_path_that_no_folder_can_have_is_told(path):
    with pytest.raises(ModelError, match=r"no such folder"):
        model_folder(path)


@pytest.mark.parametrize(("value", "found"), [(float("nan"), "logits that are not finite"), (0.0, "all equal")])
def test_weights_that_are_no_numbers_are_told(value, found, folder):
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"lm_head.weight": torch.full_like(tensors["lm_head.weight"], value)}, folder / WEIGHTS)
    with pytest.raises(ModelError, match=f"{found}.*(Download|save)"):
        load_model(ModelSettings(path=str(folder)), needs_packs=False)


@pytest.mark.parametrize(
    ("written", "expected"),
    [({}, ()), ({"eos_token_id": None}, ()), ({"eos_token_id": 3}, (3,)), ({"eos_token_id": [3, 5, 3]}, (3, 5))],
)
def test_the_ids_that_end_a_text(written, expected, tmp_path):
    (tmp_path / "generation_config.json").write_text(json.dumps(written))
    assert end_ids(tmp_path) == expected


@pytest.mark.parametrize(
    "written", ["", "[]", "[" * 100_000, '{"eos_token_id": "x"}', '{"eos_token_id": [-1]}', '{"eos_token_id": [true]}']
)
def test_a_damaged_generation_config_is_told(written, folder):
    (folder / "generation_config.json").write_text(written)
    with pytest.raises(ModelError, match=r"generation_config.json: found"):
        model_fingerprint(str(folder))
