import gzip
import os
from pathlib import Path

import pytest

from openflan import files
from openflan.errors import CatalogError, ConfigError, DataError, RunError
from openflan.tasks.card import Card, Source


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_comes_back_as_it_was_written(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": {"text": "größer:\n  - no list", "yes": "no"}}
    files.write_yaml(tmp_path / "deep" / "x.yaml", value)
    assert files.read_yaml(tmp_path / "deep" / "x.yaml") == value
    assert list(files.read_yaml(tmp_path / "deep" / "x.yaml")) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' twice, line 3"),
        ("a: &x [1]\nb: *x\n", r"an alias \(\*name\), line 2"),
        ("a: !!python/object/apply:os.getcwd []\n", "the tag tag:yaml.org,2002:python/object/apply:os.getcwd, line 1"),
        ("a: [1\n", "expected"),
        ("a: " + "[" * 5000, "plain YAML"),
    ],
)
def test_yaml_that_is_not_plain_is_refused(tmp_path, text, message):
    with pytest.raises(CatalogError, match=message):
        files.read_yaml(written(tmp_path / "x.yaml", text), CatalogError)


def test_yaml_that_is_absent_binary_or_huge_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        files.read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        files.read_yaml(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="1,000,004 bytes"):
        files.read_yaml(written(tmp_path / "x.yaml", "a: " + "x" * 1_000_000 + "\n"))


def test_all_problems_of_a_file_are_told_at_once_with_their_keys():
    with pytest.raises(ConfigError) as caught:
        files.parse(Source, {"hubb": "glue", "splits": {"tests": "x", "train": 3}}, "rte.yaml")
    message = str(caught.value)
    assert message.startswith("rte.yaml: found ")
    assert "hubb (unknown key; Did you mean hub?)" in message
    assert "splits.tests (unknown key; Did you mean test?)" in message
    assert "splits.train: Input should be a valid string" in message


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"source": {"hubb": "x"}}, "source.hubb (unknown key; Did you mean hub?)"),
        ({"members": {"a": {"surce": {}}}}, "members.a.surce (unknown key; Did you mean source?)"),
        ({"templates": [{"id": "a", "inverse": True}]}, "templates.0.inverse (unknown key; Did you mean inverted?)"),
        ({"answer": {"kind": "text", "refs": "x"}}, "TextAnswer.refs (unknown key; Known: kind, references)"),
    ],
)
def test_an_unknown_key_is_told_where_it_is_nested(value, part):
    with pytest.raises(CatalogError) as caught:
        files.parse(Card, {"family": "x", **value}, "x.yaml", CatalogError)
    assert part in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(CatalogError, match="licence: Field required"):
        files.parse(Card, {"family": "x"}, "x.yaml", CatalogError)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_jsonl_is_read_plain_and_zipped(tmp_path, name):
    content = '{"a": 1}\n\n{"a": "é"}\n'.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(files.read_jsonl(tmp_path / name)) == [{"a": 1}, {"a": "é"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": \n', "rows.jsonl, line 2: found text that is not JSON"),
        (b'{"a": 1}\n[1]\n', "rows.jsonl, line 2: found a list; expected one JSON object"),
        (b'{"a": 1}\n\xff\n', "rows.jsonl: found .*can't decode byte"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(files.read_jsonl(tmp_path / "rows.jsonl"))


def test_a_cut_gz_file_is_an_error_and_not_a_short_data_set(tmp_path):
    whole = gzip.compress(b'{"a": 1}\n' * 10_000, mtime=0)
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(DataError, match="Fetch or copy the file again"):
        list(files.read_jsonl(tmp_path / "rows.jsonl.gz"))


def test_json_comes_back_and_a_damaged_file_is_named(tmp_path):
    files.write_json(tmp_path / "x.json", {"b": 1, "a": [None, "é"]})
    assert files.read_json(tmp_path / "x.json") == {"b": 1, "a": [None, "é"]}
    assert (tmp_path / "x.json").read_text(encoding="utf-8").index("b") < 5
    with pytest.raises(RunError, match=r"x\.json: found a file that cannot be read"):
        files.read_json(written(tmp_path / "x.json", '{"b"'))


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path, monkeypatch):
    path = written(tmp_path / "x.txt", "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match="No space left on device"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_writing_below_a_file_is_an_error(tmp_path):
    with pytest.raises(RunError, match="Choose another --out"):
        files.write_text(written(tmp_path / "file", "") / "x.txt", "new")
    with pytest.raises(RunError, match="Choose another --out"):
        files.append_jsonl(tmp_path / "file" / "x.jsonl", [{"a": 1}])


def test_lines_are_appended_whole(tmp_path):
    files.append_jsonl(tmp_path / "deep" / "log.jsonl", [{"a": 1}])
    files.append_jsonl(tmp_path / "deep" / "log.jsonl", [{"a": "é"}, {"a": 3}])
    assert list(files.read_jsonl(tmp_path / "deep" / "log.jsonl")) == [{"a": 1}, {"a": "é"}, {"a": 3}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a": 1}\n{"a": 4', '{"a": 1}\n'),
        ('{"only ha', ""),
        ('{"a": 1}\n', '{"a": 1}\n'),
        ("", ""),
    ],
)
def test_the_half_line_of_a_killed_writer_is_cut_off(tmp_path, before, after):
    path = written(tmp_path / "log.jsonl", before)
    files.cut_half_line(path)
    assert path.read_text() == after


def test_zipped_jsonl_is_written_row_by_row_and_always_the_same(tmp_path):
    for name in ("a", "b"):
        files.write_jsonl(tmp_path / name / "rows.jsonl.gz", ({"n": n, "word": "é"} for n in range(3)))
    assert list(files.read_jsonl(tmp_path / "a" / "rows.jsonl.gz")) == [{"n": n, "word": "é"} for n in range(3)]
    assert (tmp_path / "a" / "rows.jsonl.gz").read_bytes() == (tmp_path / "b" / "rows.jsonl.gz").read_bytes()
    files.write_jsonl(tmp_path / "rows.jsonl", [{"kind": int}], default=str)
    assert (tmp_path / "rows.jsonl").read_text() == '{"kind": "<class \'int\'>"}\n'


def test_jsonl_is_written_whole(tmp_path):
    files.write_jsonl(tmp_path / "x.jsonl", [{"a": "é"}, {"b": [1]}])
    assert (tmp_path / "x.jsonl").read_text(encoding="utf-8") == '{"a": "é"}\n{"b": [1]}\n'


def test_one_at_a_time_in_a_folder(tmp_path):
    with files.exclusive(tmp_path / "a", wait=False):
        with pytest.raises(RunError, match="another process at work"), files.exclusive(tmp_path / "a", wait=False):
            raise AssertionError("both hold it")
        with files.exclusive(tmp_path / "b", wait=False):
            pass
    with files.exclusive(tmp_path / "a", wait=False):
        pass


def test_the_lock_is_given_back_after_an_error_of_its_holder(tmp_path):
    with pytest.raises(BlockingIOError), files.exclusive(tmp_path):  # and the error is not taken for the lock's own
        raise BlockingIOError
    with files.exclusive(tmp_path, wait=False):
        pass


def test_a_place_that_cannot_be_locked(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Not a directory"), files.exclusive(tmp_path / "file" / "run"):
        pass


def test_a_pipe_or_device_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(RunError, match="found a device or a pipe; expected a place for a file"):
            files.write_text(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo()
