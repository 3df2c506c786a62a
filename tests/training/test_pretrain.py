import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from openflan import files
from openflan.errors import DataError, RunError
from openflan.models.load import load_model
from openflan.models.settings import ModelSettings
from openflan.training import pretrain as pretrain_module
from openflan.training.loop import UpdateLog
from openflan.training.pretrain import PretrainRecipe, _segment, _Text, pretrain
from openflan.world.practice import marked

WEIGHTS = "model.safetensors"
PARAGRAPH = (
    "It was a long way to the old house by the river, and nobody in the village had ever been there before the war. "
)


class Killed(BaseException):
    pass


def recipe(**changes: object) -> PretrainRecipe:
    values = {
        "stages": [
            {"num_updates": 1, "text": {"short_lists": 1}, "other_tokens": 0.0},
            {"num_updates": 1, "text": {"drill": 2, "tools": 1}, "other_tokens": 0.5},
        ],
        "updates_among_labels": 1,
        "shape": {
            **{"vocab_size": 400, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "mlp_size": 64},
            "num_shift_heads": 1,
        },
        "tokenizer_documents": 100,
        "train": {
            "optimizer": "muon",
            "learning_rate": 1e-2,
            "pack_tokens": 128,
            "packs_per_update": 2,
            "packs_per_microbatch": 2,
            "checkpoint_seconds": 1e-9,
        },
    }
    return PretrainRecipe.model_validate(values | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return pretrain(recipe(), tmp_path_factory.mktemp("base"))


def same_folders(a: Path, b: Path) -> bool:
    ours, theirs = load_file(a / WEIGHTS), load_file(b / WEIGHTS)
    assert ours.keys() == theirs.keys()
    assert len(ours) == 28  # 20 matrices and norms, 8 biases
    equal = all(torch.equal(ours[name], theirs[name]) for name in ours)
    return equal and (a / "tokenizer.json").read_bytes() == (b / "tokenizer.json").read_bytes()


def test_a_tiny_recipe_makes_a_folder_that_loads(made):
    model = load_model(ModelSettings(path=str(made)))
    assert made.name == files.MODEL
    assert model.codec.vocab_size == model.model.config.vocab_size == 400
    assert (model.codec.eos_id, model.model.config.eos_token_id, model.model.config.pad_token_id) == (0, 0, 1)
    assert {tensor.dtype for tensor in load_file(made / WEIGHTS).values()} == {torch.bfloat16}
    log = list(files.read_jsonl(made.parent / files.TRAIN_LOG))
    assert [row["update"] for row in log] == [0, 1]
    assert all(row["num_tokens"] > 200 for row in log)
    assert 2 < log[0]["loss"] < 5  # over the labels of an update alone
    assert 4 < log[1]["loss"] < 10
    making = json.loads((made / "making.json").read_text())
    assert making["recipe"] == recipe().model_dump(mode="json", exclude_defaults=True)
    assert making["num_tokens"] == sum(row["num_tokens"] for row in log)
    assert making["losses"] == [[2, pytest.approx((log[0]["loss"] + log[1]["loss"]) / 2, abs=1e-4)]]
    assert [row["update"] for row in making["probes"]] == [2]
    assert all(0 <= share <= 1 for skill, share in making["probes"][0].items() if skill != "update")
    assert len(making["probes"][0]) == 18


def test_the_same_recipe_makes_the_same_model(made, tmp_path):
    assert same_folders(pretrain(recipe(), tmp_path), made)


def test_another_seed_makes_another(made, tmp_path):
    assert not same_folders(pretrain(recipe(seed=1), tmp_path), made)


def test_interrupted_it_goes_on_to_the_same_model(made, tmp_path):
    def stop(line: UpdateLog) -> None:
        if line.update == 1:
            raise Killed

    with pytest.raises(Killed):
        pretrain(recipe(), tmp_path, stop)
    assert not (tmp_path / files.MODEL).exists()
    again: list[int] = []
    assert same_folders(pretrain(recipe(), tmp_path, lambda line: again.append(line.update)), made)
    assert again == [1]


def test_another_recipe_does_not_go_on_from_it(made):
    with pytest.raises(RunError, match="a checkpoint of another run"):
        pretrain(recipe(tokenizer_documents=101), made.parent)


def test_later_blocks_do_not_need_the_earlier_ones(monkeypatch, tmp_path):
    """With blocks of one update, the second is drawn alone after an interruption."""
    monkeypatch.setattr(pretrain_module, "UPDATES_PER_BLOCK", 1)
    whole = pretrain(recipe(), tmp_path / "whole")

    def stop(line: UpdateLog) -> None:
        if line.update == 0:
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            pretrain(recipe(), tmp_path / "cut", stop)
    assert same_folders(pretrain(recipe(), tmp_path / "cut"), whole)


def test_no_text_is_read_twice_and_packs_are_full(monkeypatch, tmp_path):
    seen = []
    stages = [
        {"num_updates": 5, "text": {"short_lists": 1}, "other_tokens": 0.0},
        {"num_updates": 5, "text": {"drill": 1, "tools": 1}, "other_tokens": 0.5},
    ]
    monkeypatch.setattr(pretrain_module, "UPDATES_PER_BLOCK", 4)
    monkeypatch.setattr(pretrain_module, "train", lambda model, packs_of, *_, **__: seen.append((model, packs_of)))
    monkeypatch.setattr(pretrain_module, "_making", lambda *_: {})
    pretrain(recipe(stages=stages), tmp_path)
    [(model, packs_of)] = seen
    updates = [packs_of(update) for update in range(10)]
    assert [len(packs) for packs in updates] == [2] * 10
    segments = [[s for p in packs for s in p.segments] for packs in updates]
    texts = [s.ids for part in segments for s in part if len(s.ids) > 20]
    assert len(texts) == len(set(texts)) > 20
    assert sum(p.num_tokens for packs in updates for p in packs) > 0.8 * 128 * 20
    assert [p.num_tokens for p in packs_of(0)] == [p.num_tokens for p in updates[0]]
    lists = [s for part in segments[:5] for s in part]
    assert all(8 <= sum(s.supervised) < len(s) / 2 for s in lists)  # eight answers of a token or more
    assert all("?" in model.codec.decode(list(s.ids)) for s in lists)
    whole = [s for part in segments[5:] for s in part if "?" not in model.codec.decode(list(s.ids))]
    assert whole
    assert all(all(s.supervised) for s in whole)


def test_a_share_of_the_other_tokens_is_predicted(made):
    model = load_model(ModelSettings(path=str(made)))
    text = f"Ella hat. Tom kite. Ella? {marked('hat')} Tom? {marked('kite')}"
    counts = [sum(_segment(key, text, model, 0.3, 0, 500).supervised) for key in range(200)]
    ids = len(_segment(0, text, model, 0.3, 0, 500))
    answers = sum(_segment(0, text, model, 0.0, 0, 500).supervised)
    assert answers + 0.2 * (ids - answers) < sum(counts) / 200 < answers + 0.4 * (ids - answers)


@pytest.mark.parametrize(
    ("text", "found"),
    [({"drills": 1}, "no kind of text is called drills: expected some of short_lists"), ({"drill": 0}, "above 0")],
)
def test_kinds_of_text_that_there_are_not_are_refused(text, found):
    with pytest.raises(ValidationError, match=found):
        recipe(stages=[{"num_updates": 1, "text": text}])


def test_paragraphs_of_a_corpus_are_mixed_into_the_last_stage(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(PARAGRAPH * 2 + "\ntoo short a line\n" + PARAGRAPH * 20 + "\n", encoding="utf-8")
    text = _Text(recipe(corpus=corpus, corpus_share=0.5))
    assert [len(p.split(" ")) for p in text.paragraphs] == [48, 120]
    first, last = (list(text.documents(stage, 0, 200)) for stage in (0, 1))
    assert not any(each in text.paragraphs for each in first)
    assert 80 < sum(each in text.paragraphs for each in last) < 120


@pytest.mark.parametrize("given", [{"corpus": "text.txt"}, {"corpus_share": 0.1}])
def test_a_corpus_without_a_share_and_a_share_without_a_corpus_are_refused(given):
    with pytest.raises(ValidationError, match="corpus and corpus_share go together"):
        recipe(**given)


def test_a_corpus_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no.txt: found .*No such file"):
        pretrain(recipe(corpus=tmp_path / "no.txt", corpus_share=0.5), tmp_path / "out")
    (tmp_path / "latin.txt").write_bytes(b"Z\xfcrich")
    with pytest.raises(DataError, match=r"latin.txt: found .*utf-8.*expected a UTF-8 text file"):
        pretrain(recipe(corpus=tmp_path / "latin.txt", corpus_share=0.5), tmp_path / "out")
