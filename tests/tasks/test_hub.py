"""Hub rows through `datasets`, from a local folder in the hub's layout. Over HTTP: tests/cli/test_data.py."""

import datasets
import pytest

import fake_hub
from openflan.errors import ConfigError, DataError
from openflan.tasks import hub
from openflan.tasks.adapt import load_examples
from openflan.tasks.card import Source

MOOD = Source(hub="somebody/mood", config="tone")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory in which the name of the dataset is a folder, and an own cache."""
    fake_hub.write_repository(tmp_path / "somebody" / "mood")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "HUB", "")
    return tmp_path


def test_the_rows_of_a_split(folder):
    rows = hub.open_split(MOOD, "train", "mood")
    assert (len(rows), rows.num_rows_there, rows.revision) == (90, 90, None)
    found = list(rows)
    assert found[0] == ("somebody/mood (tone), split train, row 1", {"text": "train 0", "label": 0, "words": [0]})
    assert found[89][1] == {"text": "train 89", "label": 1, "words": [89]}


def test_rows_are_drawn_from_a_large_split(folder):
    rows = hub.open_split(MOOD, "train", "mood", max_rows=20)
    assert (len(rows), rows.num_rows_there) == (20, 90)
    drawn = [row["words"][0] for _, row in rows]
    assert drawn == sorted(set(drawn)) != list(range(20))
    assert [row["words"][0] for _, row in hub.open_split(MOOD, "train", "mood", max_rows=20)] == drawn


def test_examples_of_a_hub_dataset(folder, make_task):
    task = make_task(source={"hub": "somebody/mood", "config": "tone"})
    found = {split: load_examples(task, split)[0] for split in ("train", "dev", "test")}
    assert {split: len(examples) for split, examples in found.items()} == {"train": 68, "dev": 22, "test": 12}
    assert found["test"][1].uid == "mood/test/1"
    assert found["test"][1].answer.gold == 1
    (folder / "root").mkdir()
    assert len(load_examples(task, "test", folder / "root")[0]) == 12


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [
        (MOOD, "test", r'split test: found Unknown split "test".*Correct `source`'),
        (Source(hub="somebody/mood", config="colour"), "train", "BuilderConfig 'colour' not found"),
        (
            Source(hub="nobody/mood"),
            "train",
            r"nobody/mood, split train: found no connection to the hub.*data fetch mood",
        ),
    ],
)
def test_what_the_hub_does_not_give(folder, source, split, message):
    with pytest.raises(DataError, match=message) as error:
        hub.open_split(source, split, "mood")
    assert "\n" not in str(error.value)


def test_a_dataset_that_is_a_script(folder):
    (folder / "somebody" / "mood" / "mood.py").write_text("raise SystemExit('run!')")
    with pytest.raises(DataError, match=r"found a dataset that is a script.*refs/convert/parquet"):
        hub.open_split(MOOD, "train", "mood")


def test_a_folder_of_the_same_name_is_not_the_dataset(folder, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
    with pytest.raises(DataError, match="no connection to the hub"):
        hub.open_split(MOOD, "train", "mood")


def test_a_proxy_that_cannot_be_used_is_told_as_such(folder, monkeypatch):
    monkeypatch.setattr(hub, "HUB", "hf://datasets/")
    for name in ("NO_PROXY", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks://proxy:1080")
    with pytest.raises(ConfigError, match=r"^ALL_PROXY: found a proxy's address that cannot be used"):
        hub.open_split(MOOD, "train", "mood")


def test_commits():
    assert hub.is_commit("0123456789abcdef0123456789abcdef01234567")
    assert not any(map(hub.is_commit, (None, "main", "refs/convert/parquet", "0123456789abcdef")))
