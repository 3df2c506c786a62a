import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openflan.errors import CatalogError, DataError
from openflan.tasks.adapt import load_examples
from openflan.tasks.sources import has_rows, iter_rows, lacks_split

ROWS = [{"text": "Fine!", "label": 1}, {"text": "Alas.", "label": 0}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def load_rows(*asked):
    return [dict(found.row) for found in iter_rows(*asked)]


def lines(num_rows):
    return "".join(json.dumps({"text": f"No. {i}", "label": i % 2}) + "\n" for i in range(num_rows))


@pytest.fixture
def data_root(tmp_path):
    root = tmp_path / "data"
    (root / "mood").mkdir(parents=True)
    (root / "feelings").mkdir()
    return root


def test_rows_of_local_files(make_task, data_root):
    (data_root / "mood" / "train.jsonl").write_text(LINES)
    (data_root / "mood" / "validation.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    task = make_task()
    assert load_rows(task, "train", data_root) == ROWS
    assert load_rows(task, "test", data_root) == ROWS
    assert has_rows(task, "train", data_root) and has_rows(task, "test", data_root)


def test_train_dev_and_test_share_no_row_and_keep_their_uids(make_task, data_root):
    (data_root / "mood" / "train.jsonl").write_text(lines(1000))
    (data_root / "mood" / "validation.jsonl").write_text(lines(5))
    found = {split: load_examples(make_task(), split, data_root)[0] for split in ("train", "dev", "test")}
    assert {split: len(examples) for split, examples in found.items()} == {"train": 800, "dev": 200, "test": 5}
    uids = {split: [e.uid for e in examples] for split, examples in found.items()}
    assert uids["test"] == [f"mood/test/{i}" for i in range(5)]
    assert sorted(uids["train"] + uids["dev"]) == sorted(f"mood/train/{i}" for i in range(1000))
    for example in found["train"] + found["dev"]:
        assert example.fields["text"] == f"No. {example.uid.rsplit('/', 1)[1]}"


def test_shards_are_one_split(make_task, data_root):
    for shard, rows in enumerate(([ROWS[0]], [ROWS[1]])):
        pq.write_table(pa.Table.from_pylist(rows), data_root / "mood" / f"train-{shard:05}-of-00002.parquet")
    found = list(iter_rows(make_task(), "train", data_root))
    assert [row.row for row in found] == ROWS
    assert [row.uid for row in found] == ["mood/train/0", "mood/train/1"]
    assert found[1].where == f"{data_root}/mood/train-00001-of-00002.parquet, row 1"


def test_the_card_names_folder_and_splits(make_task, data_root):
    (data_root / "feelings" / "dev.jsonl").write_text(LINES)
    task = make_task(source={"local": "feelings", "splits": {"train": None, "test": "dev"}})
    assert load_rows(task, "test", data_root) == ROWS
    assert not has_rows(task, "train", data_root)
    with pytest.raises(DataError, match="no train split of mood"):
        load_rows(task, "train", data_root)


def test_a_plain_name_serves_for_a_numbered_split(make_task, data_root):
    (data_root / "mood" / "test.jsonl").write_text(LINES)
    task = make_task(source={"splits": {"train": "train_r1", "test": "test_r1", "dev": "dev_r1"}})
    assert load_rows(task, "test", data_root) == ROWS
    (data_root / "mood" / "test_r1.jsonl").write_text(LINES * 2)
    assert load_rows(task, "test", data_root) == ROWS * 2
    assert not has_rows(task, "train", data_root)


def test_one_file_is_a_whole_dataset(make_task, tmp_path):
    (tmp_path / "mood.csv").write_text("text,label\n" + "".join(f"No. {i},{i % 2}\n" for i in range(100)))
    task = make_task(source={"splits": {"dev": 10, "test": 20}})
    found = {split: load_examples(task, split, tmp_path)[0] for split in ("train", "dev", "test")}
    assert {split: len(examples) for split, examples in found.items()} == {"train": 70, "dev": 10, "test": 20}
    assert len({e.uid for examples in found.values() for e in examples}) == 100
    with pytest.raises(
        DataError, match=r"mood\.csv: found one file for the splits train, validation of mood.*test: 500"
    ):
        load_rows(make_task(), "train", tmp_path)


def test_samples_are_copies(make_task):
    task = make_task()
    assert load_rows(task, "samples") == ROWS
    load_rows(task, "samples")[0]["text"] = "changed"
    assert load_rows(task, "samples") == ROWS


def test_a_missing_split_is_named_and_the_hub_not_asked(make_task, data_root):
    (data_root / "mood" / "train.jsonl").write_text(LINES)
    task = make_task(source={"hub": "somebody/mood"})
    with pytest.raises(
        DataError, match=r"mood/validation\.\*: found no such file.*split 'validation'.*data fetch mood"
    ):
        load_rows(task, "test", data_root)
    assert has_rows(task, "train", data_root) and not has_rows(task, "test", data_root)


def test_no_rows_anywhere(make_task, tmp_path):
    with pytest.raises(DataError, match=r"<data root>/mood/train\.\*: found no such file.*--data-root DIR"):
        load_rows(make_task(), "train")
    with pytest.raises(DataError, match="nowhere: found no folder"):
        load_rows(make_task(), "train", tmp_path / "nowhere")
    by_hand = make_task(source={"hub": "somebody/mood", "manual": "Write to somebody."})
    with pytest.raises(DataError, match=r"split 'train'\. Write to somebody\."):
        load_rows(by_hand, "train", tmp_path)
    assert not has_rows(by_hand, "train", tmp_path)


def test_the_hub_is_asked_last(make_task, data_root):
    task = make_task(source={"hub": "somebody/mood", "local": "elsewhere"})
    for root in (None, data_root):
        assert not has_rows(task, "train", root)
        with pytest.raises(
            DataError, match=r"somebody/mood, split train: found no connection to the hub.*data fetch mood"
        ):
            load_rows(task, "train", root)


def test_a_label_out_of_range_is_named_with_its_file_and_row(make_task, data_root):
    rows = [f"No. {i},{i % 2}\n" for i in range(20)]
    rows[16] = "No. 16,2\n"
    (data_root / "mood" / "validation.csv").write_text("text,label\n" + "".join(rows))
    with pytest.raises(DataError, match=r"mood/validation\.csv, row 17: found label = 2; expected 0 or 1"):
        load_examples(make_task(), "test", data_root)


def test_a_missing_column_is_named_with_its_file(make_task, data_root):
    (data_root / "mood" / "validation.csv").write_text("text,labels\nFine!,1\n")
    with pytest.raises(DataError, match=r"validation\.csv, row 1: found no field 'label'.*Did you mean labels"):
        load_examples(make_task(), "test", data_root)


def test_an_unknown_suffix(make_task, data_root):
    (data_root / "mood" / "validation.xlsx").write_text("PK")
    for look in (load_rows, has_rows):  # what cannot be read is not absent
        with pytest.raises(
            DataError, match=r"validation\.xlsx: found \.xlsx; expected a file whose form is known.*\.jsonl"
        ):
            look(make_task(), "test", data_root)


def test_what_lacks_a_split_and_what_is_broken(make_task, data_root, tmp_path):
    (data_root / "mood" / "validation.jsonl").write_text(LINES)
    own, cut, none = ({"splits": {"train": "train", "test": "validation", "dev": dev}} for dev in ("dev", 200, 0))
    assert [lacks_split(make_task(source=source), "dev", data_root) for source in (own, cut, none)] == [True] * 3
    assert not lacks_split(make_task(source=own), "test", data_root)
    (data_root / "mood" / "train.jsonl").write_text("")  # no rows: that is told when it is read
    assert [lacks_split(make_task(source=source), "dev", data_root) for source in (own, cut, none)] == [
        True,
        False,
        True,
    ]
    (data_root / "mood" / "dev.xlsx").write_text("PK")
    assert not lacks_split(make_task(source=own), "dev", data_root)
    (data_root / "mood" / "dev.xlsx").rename(data_root / "mood" / "dev-00001-of-00002.jsonl")
    with pytest.raises(DataError, match="each of 0 to 1, once"):
        lacks_split(make_task(source=own), "dev", data_root)


def test_a_dataset_that_is_nowhere_lacks_no_split(make_task, data_root, tmp_path):
    """Its rows are missing, and of the hub nothing is known."""
    (data_root / "mood").rmdir()
    for source in ({}, {"hub": "somebody/mood"}, {"world": "rte"}):
        for root in (None, data_root, tmp_path / "nowhere"):
            assert not lacks_split(make_task(source=source), "dev", root)
    assert not lacks_split(make_task(), "samples", data_root)


def test_an_empty_file(make_task, data_root):
    (data_root / "mood" / "validation.jsonl").write_text("")
    with pytest.raises(DataError, match=r"validation\.jsonl: found no rows; expected at least one"):
        load_examples(make_task(), "test", data_root)


@pytest.mark.parametrize(
    "source",
    [
        {"local": "../feelings"},
        {"local": "/etc"},
        {"hub": "../somebody/mood"},
        {"hub": "somebody/../mood"},
        {"hub": "/somebody/mood"},
        {"hub": "somebody/mood", "revision": "../main"},
    ],
)
def test_no_name_leads_out_of_the_data_root(make_task, source):
    with pytest.raises(CatalogError, match=r"source\.\w+: String should match pattern"):
        make_task(source=source)
