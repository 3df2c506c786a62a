import gzip
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openflan.errors import DataError
from openflan.tasks.readers import SUFFIXES, RowFiles, count_rows, find_files, read_rows

ROWS = [{"text": "Fine, é!", "label": 1}, {"text": 'He said "no"', "label": 0}]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = 'text,label\n"Fine, é!",1\n"He said ""no""",0\n'
TSV = 'text\tlabel\nFine, é!\t1\nHe said "no"\t0\n'
TEXTS = {".jsonl": JSONL, ".json": json.dumps(ROWS), ".csv": CSV, ".tsv": TSV}


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def write(path, data):
    """Packs as the name says."""
    pack = {".gz": gzip.compress, ".zst": zstd}.get(path.suffix, bytes)
    path.write_bytes(pack(data.encode() if isinstance(data, str) else data))
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mood"
    path.mkdir()
    return path


def test_all_forms_give_the_same_rows(folder):
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
    for suffix in SUFFIXES[:-1]:
        write(folder / f"train{suffix}", TEXTS["." + suffix.split(".")[1]])
    assert len(SUFFIXES) == 13
    for suffix in SUFFIXES:
        assert list(read_rows(folder / f"train{suffix}")) == ROWS
        assert count_rows(folder / f"train{suffix}") == 2


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["0", "-12", "7"], [0, -12, 7]),
        (["0", "1", ""], ["0", "1", ""]),
        (["007", "1", "2"], ["007", "1", "2"]),  # an int would lose the zeros
        (["1.0", "2", "3"], ["1.0", "2", "3"]),
        (["1" * 19, "1", "2"], ["1" * 19, "1", "2"]),
        (["true", "False", "TRUE"], [True, False, True]),
        (["true", "no", "1"], ["true", "no", "1"]),
        (["1", "true", "0"], ["1", "true", "0"]),
    ],
)
def test_a_csv_column_is_text_unless_every_cell_is_an_integer_or_a_boolean(folder, cells, values):
    path = write(folder / "train.csv", "text,label\n" + "".join(f"a,{cell}\n" for cell in cells))
    found = [row["label"] for row in read_rows(path)]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_csv_with_line_breaks_a_byte_order_mark_and_blank_lines(folder):
    path = write(
        folder / "train.csv", b'\xef\xbb\xbftext,label\r\n"two\r\nlines",1\r\n\r\n' + b"x" * 200_000 + b",0\r\n"
    )
    assert list(read_rows(path)) == [{"text": "two\nlines", "label": 1}, {"text": "x" * 200_000, "label": 0}]


def test_nested_parquet_and_many_batches(folder):
    rows = [{"answers": {"text": [str(i)]}, "kind": None} for i in range(2500)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    assert list(read_rows(folder / "train.parquet")) == rows


def test_shards_in_their_order(folder):
    for i in (2, 0, 1):
        write(folder / f"train-{i:05}-of-00003.jsonl.gz", json.dumps({"n": i}) + "\n")
    write(folder / "train_r1.jsonl", '{"n": 9}\n')
    paths = find_files(folder, "train")
    assert [path.name[6:11] for path in paths] == ["00000", "00001", "00002"]
    table = RowFiles(paths)
    assert len(table) == 3
    assert list(table) == [(f"{path}, row 1", {"n": i}) for i, path in enumerate(paths)]
    paths[1].unlink()
    with pytest.raises(
        DataError, match=r"found files \[0, 2\] of train-\*-of-00003\.jsonl\.gz; expected each of 0 to 2"
    ):
        find_files(folder, "train")


def test_a_split_in_two_forms_and_other_files(folder):
    assert find_files(folder, "train") == ()
    assert find_files(folder / "absent", "train") == ()
    write(folder / "train.xlsx", "x")
    assert find_files(folder, "train") == ()
    write(folder / "train.csv", CSV)
    assert find_files(folder, "train") == (folder / "train.csv",)
    write(folder / "train.jsonl", JSONL)
    with pytest.raises(DataError, match=r"found train\.csv and train\.jsonl; expected one form of the split 'train'"):
        find_files(folder, "train")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file(folder, suffix):
    write(folder / f"train{suffix}", "")
    with pytest.raises(DataError, match=rf"train{suffix}: found .*; expected"):
        list(RowFiles((folder / f"train{suffix}",)))


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".tsv"])
def test_a_truncated_file(folder, pack, kind):
    lines = TEXTS[kind] if kind == ".json" else TEXTS[kind] + TEXTS[kind].split("\n", 1)[1] * 20_000
    path = folder / f"train{kind}{'.gz' if pack is gzip.compress else '.zst'}"
    path.write_bytes(pack(lines.encode())[:-10])
    with pytest.raises(
        DataError, match=rf"train{kind}\.\w+: found .*; expected {kind[1:].upper()} in UTF-8 that is whole"
    ):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": "\xff"}\n', "invalid start byte, after row 1; expected JSONL in UTF-8"),
        ("a.csv", b"a,b\n1,2\n3,\xff\n", "invalid start byte; expected CSV in UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2: found text that is not JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2: found a list; expected one JSON object"),
        ("a.jsonl", b"[" * 100_000, r"line 1: found text that is not JSON \(more than 100 levels\)"),
        ("a.json", b'{"a": 1}', "found a dict; expected a list of JSON objects"),
        ("a.json", b"[1]", "row 1: found a int; expected one JSON object"),
        ("a.csv", b"a,b\n1,2\n3\n", "row 2: found 1 cells; expected 2, one for each column"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", "row 2: found 3 cells"),
        ("a.csv", b'a,b\n1,"2\n', "unexpected end of data"),
        ("a.tsv", b"a\ta\n1\t2\n", "the column 'a' twice"),
        ("a.parquet", b"PAR1, or so they say", "expected a Parquet file that is whole"),
        ("a.parquet", b"no Parquet at all", "expected a Parquet file that is whole"),
        ("a.jsonl.gz", b'{"a": 1}\n', "Not a gzipped file"),
        ("a.jsonl.zst", b'{"a": 1}\n', "Unknown frame descriptor"),
        ("a.docx", b"", r"found \.docx; expected a file whose form is known by its suffix"),
    ],
)
def test_a_damaged_file(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        list(read_rows(folder / name))
    assert str(error.value).startswith(str(folder / name))
    assert "\n" not in str(error.value)


def test_a_truncated_parquet_file(folder):
    pq.write_table(pa.Table.from_pylist(ROWS * 1000), folder / "a.parquet")
    (folder / "a.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-100])
    for read in (count_rows, lambda path: list(read_rows(path))):
        with pytest.raises(DataError, match="expected a Parquet file that is whole"):
            read(folder / "a.parquet")


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv", ".parquet"])
def test_a_large_file_is_not_held_in_memory(folder, suffix):
    path = folder / f"train{suffix}"
    rows = [{"text": "x" * 1000, "label": i % 2} for i in range(30_000)]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1000)
    else:
        lines = [json.dumps(r) if suffix == ".jsonl.gz" else f"{r['text']},{r['label']}" for r in rows]
        write(path, "\n".join(["text,label"] * (suffix == ".csv") + lines) + "\n")
    program = (
        "import resource, sys, pathlib\n"
        "from openflan.tasks.readers import count_rows, read_rows\n"
        "import pyarrow.parquet\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, path = peak(), pathlib.Path(sys.argv[1])\n"
        "assert count_rows(path) == sum(1 for _ in read_rows(path)) == 30000\n"
        "print((peak() - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20  # MB, of 30


def memory_and_message(path):
    """Peak memory in MB above that of the interpreter and Arrow, and the error; of a process of its own."""
    program = (
        "import pathlib, sys, time\n"
        "import pyarrow.parquet\n"
        "from openflan.errors import DataError\n"
        "from openflan.tasks.readers import read_rows\n"
        "peak = lambda: int(next(x for x in open('/proc/self/status') if 'VmHWM' in x).split()[1]) // 1024\n"
        "before = peak()\n"
        "try: print(sum(1 for _ in read_rows(pathlib.Path(sys.argv[1]))))\n"
        "except DataError as exc: print(exc)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    message, memory = done.stdout.splitlines()
    return int(memory), message


MEGABYTE = b"x" * 1_000_000


@pytest.mark.parametrize(
    ("name", "begin", "repeated", "message"),
    [
        ("a.jsonl.gz", b'{"text": "', MEGABYTE, "line 1: found a line of more than 16,000,000 bytes"),
        ("a.csv.gz", b"text\n", MEGABYTE, "line 2: found a line of more than 16,000,000 bytes"),
        ("a.tsv.zst", b"text\n", MEGABYTE, "line 2: found a line of more than 16,000,000 bytes"),
        ("a.json.gz", b'[{"text": "', MEGABYTE, "a row of more than 16,000,000 characters"),
        ("a.json.zst", b"", b" " * 1_000_000, "000 blanks"),
        ("a.jsonl.zst", b"", b"\n" * 1_000_000, "1,000,001 blank lines after line 0"),
        ("a.json", b'[{"text": [', b"[]," * 300_000, "more than 500,000 lists and objects"),
    ],
)
def test_what_unpacks_to_hundreds_of_megabytes_takes_few(folder, name, begin, repeated, message):
    memory, found = memory_and_message(write(folder / name, begin + repeated * (3 if name == "a.json" else 150)))
    assert message in found
    assert memory < 120


def test_a_parquet_file_of_one_long_text_in_many_rows(folder):
    def bomb(num_bytes):
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array(["x" * num_bytes]))
        pq.write_table(pa.table({"text": texts, "label": [1] * 100}), folder / "a.parquet")
        return memory_and_message(folder / "a.parquet")

    memory, found = bomb(6_000_000)
    assert (found, memory < 150) == ("100", True)
    memory, found = bomb(17_000_000)
    assert "a.parquet, row 1: found a row of 17,000,009 bytes; expected at most 16,000,000" in found
    assert memory < 150


def test_a_parquet_row_of_many_values_is_refused(folder):
    pq.write_table(pa.table({"n": pa.array([[0] * 2_000_000], pa.list_(pa.int8()))}), folder / "a.parquet")
    with pytest.raises(DataError, match=r"rows of 2,000,000 values .* in n; expected|in n.list.element; expected"):
        list(read_rows(folder / "a.parquet"))


def test_only_columns_that_are_needed_are_read(folder):
    far = pa.array([2**30, 1], pa.int32()).cast(pa.date32())  # a date that Python has no year for
    table = pa.table({"text": ["a", "b"], "seen": far, "answers": [{"text": ["x"], "at": 1}, {"text": [], "at": 2}]})
    pq.write_table(table, folder / "a.parquet")
    rows = [{"text": "a", "answers": {"text": ["x"], "at": 1}}, {"text": "b", "answers": {"text": [], "at": 2}}]
    assert list(read_rows(folder / "a.parquet", {"answers.text", "text"})) == rows
    for columns in (None, {"text", "absent"}, {"seen"}):
        with pytest.raises(DataError, match="expected values that Python can hold"):
            list(read_rows(folder / "a.parquet", columns))
    write(folder / "a.csv", "a,b,c.d\n1,2,3\n")
    assert list(read_rows(folder / "a.csv", {"b", "c.d"})) == [{"b": 2, "c.d": 3}]
    assert list(read_rows(folder / "a.csv", {"b", "z"})) == [{"a": 1, "b": 2, "c.d": 3}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz", "a.csv.zst", "a.tsv", "a.parquet"])
def test_what_is_no_regular_file_is_refused_at_once(folder, name):
    path = folder / name
    os.mkfifo(path)
    for read in (count_rows, lambda path: list(read_rows(path))):
        with pytest.raises(DataError, match="a pipe, a socket or a device in place of a file"):
            read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a pipe, a socket or a device"):
        list(read_rows(path))
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(DataError, match="Too many levels of symbolic links"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"a": 1}\n{"a": 2}\n', "several JSON values one after another; .* Name it .jsonl"),
        ("a.json", b'[{"a": 1} {"a": 2}]', "Expecting ',' delimiter, after row 1"),
        ("a.json", b'[{"a": 1},', "Expecting value, after row 1"),
        ("a.json", b'[{"a": 1}', "a list without an end, after row 1"),
        ("a.json", b'[{"a": 1}]]', "Extra data, after row 1"),
        ("a.json", b'[{"a": 1, "a": 2}]', "row 1: found text that is not JSON .the key 'a' twice"),
        ("a.jsonl", b'{"a": {"b": 1, "b": 1}}', "line 1: found text that is not JSON .the key 'b' twice"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\\ud83d"}', r"line 2: .*half of a surrogate pair \('\\ud83d'\)"),
        ("a.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "a number of 5,000 digits"),
        ("a.csv", b"a,b\r1,2\r", "line 1: found a carriage return without a line feed"),
        ("a.tsv", b"a\tb\n1\t2\rx\n", "line 2: found a carriage return without a line feed"),
        ("a.csv", b",".join(b"c%d" % i for i in range(6000)), "6,000 columns; expected at most 5,000"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(folder / name))


def test_a_parquet_file_with_two_columns_of_one_name(folder):
    pq.write_table(
        pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), folder / "a.parquet"
    )
    with pytest.raises(DataError, match="the column 'text' twice"):
        list(read_rows(folder / "a.parquet", {"text"}))


@pytest.mark.parametrize("length", [1, 399_990, 400_000, 900_000])
def test_a_json_list_is_read_in_chunks(folder, length):
    rows = [{"text": "é" * length, "n": i} for i in range(3)] + [{}]
    assert list(read_rows(write(folder / "a.json", json.dumps(rows, indent=1, ensure_ascii=False)))) == rows
    assert list(read_rows(write(folder / "a.json", " [ ] \n"))) == []


def test_tsv_has_quotes_only_where_it_was_plainly_written_so(folder):
    def texts(content):
        return [row["text"] for row in read_rows(write(folder / "a.tsv", "text\tlabel\n" + content))]

    assert texts('"""Wow"" it was"\t1\nfine\t0\n"so ""good"""\t1\n') == ['"Wow" it was', "fine", 'so "good"']
    assert texts('"""Wow"" it was"\t1\nso "good"\t0\n') == ['"""Wow"" it was"', 'so "good"']
    assert texts('"Wow"\t1\n""\t0\n') == ['"Wow"', '""']
