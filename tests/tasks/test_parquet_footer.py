import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openflan.tasks.parquet_footer import ColumnSize, RowGroup, row_groups


def test_sizes_are_those_that_arrow_tells(tmp_path):
    rows = [{"text": "a" * i, "answers": {"text": ["x"] * (i % 3)}, "label": i, "seen": i % 2 == 0} for i in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=40, data_page_version="2.0")
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    assert row_groups(tmp_path / "a.parquet") == tuple(
        RowGroup(
            group.num_rows,
            tuple(
                ColumnSize(column.path_in_schema, column.num_values, column.total_uncompressed_size)
                for column in map(group.column, range(group.num_columns))
            ),
        )
        for group in groups
    )
    assert [group.num_rows for group in groups] == [40] * 7 + [20]


def file_of(folder, footer):
    (folder / "a.parquet").write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return folder / "a.parquet"


GROUPS = b"\x49"  # field 4, a list
NO_END = b"\xff" * 9


@pytest.mark.parametrize(
    ("footer", "message"),
    [
        (b"", "a footer without the sizes of its columns"),
        (b"\x00", "a footer without the sizes of its columns"),
        (GROUPS + b"\xfc\xff\xff\x7f" + b"\x00" * 600_000, "a footer of more than 500,000 entries"),
        (b"\x19\xfc\xff\xff\x7f" + b"\x00" * 600_000, "a footer of more than 500,000 entries"),
        (b"\x1c" * 5000, "a footer without the sizes of its columns"),  # a struct in a struct in a struct ...
        (b"\x19" * 5000, "a footer without the sizes of its columns"),  # a list in a list in a list ...
        (b"\x18" + NO_END + b"\x01", "a footer without the sizes of its columns"),  # a text of 2**63 bytes
        (b"\x18" + NO_END + NO_END, "a number of more than 64 bits"),
        (b"\x1e\x00", "a value of kind 14"),
        (GROUPS + b"\x15\x02\x00", "a footer without the sizes of its columns"),  # a number in place of a group
        (GROUPS + b"\x1c\x19\x1c\x3c\x00\x00\x00\x00", "a footer without the sizes of its columns"),  # a column of none
    ],
)
def test_a_footer_that_is_none(tmp_path, footer, message):
    with pytest.raises(ValueError, match=message):
        row_groups(file_of(tmp_path, footer))


def test_a_footer_that_is_too_long_is_not_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(17_000_000) + (17_000_000).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match="a footer of 17,000,000 bytes where at most 16,000,000"):
        row_groups(tmp_path / "a.parquet")


def test_no_damaged_footer_ends_the_process(tmp_path):
    """Every bit of a footer changed in turn, in a process of its own. Arrow alone aborts at a dozen."""
    pq.write_table(pa.table({"text": ["Wet"]}), tmp_path / "a.parquet")
    program = """if True:
        import pathlib, sys
        from openflan.errors import DataError
        from openflan.tasks.readers import count_rows, read_rows
        path = pathlib.Path(sys.argv[1])
        content = path.read_bytes()
        size = int.from_bytes(content[-8:-4], "little")
        num_errors = 0
        for at in range(len(content) - 8 - size, len(content) - 8):
            for bit in range(8):
                damaged = bytearray(content)
                damaged[at] ^= 1 << bit
                path.write_bytes(damaged)
                try:
                    rows = list(read_rows(path))
                    assert count_rows(path) == len(rows)
                except DataError:
                    num_errors += 1
        print(num_errors)
    """
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "a.parquet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 300


def test_a_damaged_page_that_asks_for_8_gigabytes(tmp_path):
    """A page of a dictionary with 2**29 texts, as it says: nobody's memory, or a file that ends too soon."""
    pq.write_table(pa.table({"text": ["Wet"]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    num_values = b"\x4c\x15\x02\x15"  # the head of such a page: a struct (7), whose first field is 1
    assert content.index(num_values) < 20
    (tmp_path / "a.parquet").write_bytes(content.replace(num_values, b"\x4c\x15\x80\x80\x80\x80\x04\x15", 1))
    program = """if True:
        import pathlib, resource, sys
        import pyarrow.parquet
        from openflan.errors import DataError
        from openflan.tasks.readers import read_rows
        taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 1_000_000_000, -1))
        try:
            list(read_rows(pathlib.Path(sys.argv[1])))
        except DataError as exc:
            print(exc)
    """
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "a.parquet"], capture_output=True, text=True)
    assert "found more than the memory can hold (malloc of size 8589934592 failed)" in done.stdout, done.stderr
