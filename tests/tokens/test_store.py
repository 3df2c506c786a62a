import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openflan import files
from openflan.errors import RunError
from openflan.tokens.pack import StorePacks, plain_segment
from openflan.tokens.store import NAME, Chunk, TokenStore, code_fingerprint, default_folder, stored

CHUNKS = (
    Chunk("mood", [0, 4], [(5, 6, 7), (8, 9)], [2, 1], Counter(num_cut_words=3)),
    Chunk("mood", [5], [[1] * 300], [4], Counter(num_cut_words=4)),
    Chunk("name", [], [], [], Counter(num_dropped_too_long_target=2)),
    Chunk("copy", [2, 3], [(2**31 - 1,), (3, 0)], [1, 1], Counter(num_cut_words=0)),
)


def build() -> Iterator[Chunk]:
    yield from CHUNKS


def never() -> Iterator[Chunk]:
    raise AssertionError("built again")


def same(found: TokenStore, expected: TokenStore) -> bool:
    names = ("lengths", "num_supervised", "place", "task")
    return all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in names) and all(
        np.array_equal(found.ids(i), expected.ids(i)) for i in range(len(expected))
    )


def test_what_is_stored_comes_back(tmp_path):
    store = stored(tmp_path, "key", build)
    assert store.path == tmp_path / "key" / "tokens.arrow"
    assert (len(store), store.num_damaged) == (5, 0)
    assert store.lengths.tolist() == [3, 2, 300, 1, 2]
    assert store.num_supervised.tolist() == [2, 1, 4, 1, 1]
    assert store.place.tolist() == [0, 4, 5, 2, 3]
    assert [store.tasks[code] for code in store.task] == ["mood", "mood", "mood", "copy", "copy"]
    assert store.ids(3).tolist() == [2**31 - 1]
    assert store.segment(1) == plain_segment(1, (8, 9), 1)
    assert store.segment(2) == plain_segment(2, [1] * 300, 4)
    assert store.segment(4) == plain_segment(4, (3, 0), 1)
    with pytest.raises(IndexError):
        store.segment(5)


def test_counts_are_kept_by_task_and_summed(tmp_path):
    store = stored(tmp_path, "key", build)
    kept = {"num_examples": 3, "num_tokens": 305, "num_supervised": 7}
    assert store.counts_by_task["mood"] == kept | {"num_cut_words": 7}
    assert store.counts_by_task["name"] == dict.fromkeys(kept, 0) | {"num_dropped_too_long_target": 2}
    assert store.counts == {
        "num_examples": 5,
        "num_tokens": 308,
        "num_supervised": 9,
        "num_cut_words": 7,
        "num_dropped_too_long_target": 2,
    }


def test_it_is_built_once_for_each_key(tmp_path):
    first = stored(tmp_path, "key", build)
    assert same(stored(tmp_path, "key", never), first)
    with pytest.raises(AssertionError, match="built again"):
        stored(tmp_path, "other", never)


def test_its_rows_are_packed(tmp_path):
    packs = StorePacks(stored(tmp_path, "key", build), 8)
    assert [[s.key for s in pack.segments] for pack in packs] == [[0, 3, 4, 1]]
    assert packs.num_too_long == 1


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="asks Linux which pages are in memory")
def test_an_open_store_takes_fourteen_bytes_a_row_and_its_ids_stay_on_the_disk(tmp_path):
    chunks = [Chunk("copy", [i], [[i] * 50_000], [1]) for i in range(20)]
    store = stored(tmp_path, "key", lambda: chunks)
    assert sum(getattr(store, name).nbytes for name in ("lengths", "num_supervised", "place", "task")) == 14 * 20
    mapped = Path("/proc/self/smaps").read_text().partition(str(store.path))[2]
    kilobytes = {line.split()[0]: int(line.split()[1]) for line in mapped.splitlines()[1:5]}
    assert kilobytes["Size:"] > 3_900 and kilobytes["Rss:"] < 200
    assert store.ids(7).tolist() == [7] * 50_000


def test_a_store_without_rows(tmp_path):
    store = stored(tmp_path, "key", lambda: iter(CHUNKS[2:3]))
    assert (len(store), store.counts["num_dropped_too_long_target"], store.lengths.tolist()) == (0, 2, [])
    assert len(stored(tmp_path, "nothing", lambda: iter(()))) == 0


@pytest.mark.parametrize(
    "damage", ["empty", "half", "no end", "other bytes", "text", "a value", "swapped", "another", "counts"]
)
def test_a_damaged_file_is_built_anew_and_counted(tmp_path, damage):
    expected = stored(tmp_path, "key", build)
    path = tmp_path / "key" / NAME
    content = path.read_bytes()
    value = content.index((2**31 - 1).to_bytes(4, "little"))
    pair, swapped = (np.array(ids, np.int32).tobytes() for ids in ((8, 9), (9, 8)))
    another = stored(tmp_path, "other", lambda: iter(CHUNKS[:1])).path.read_bytes()
    assert content.count(pair) == 1 and content.count(b'"num_cut_words": 7') == 1
    path.unlink()  # the file that `expected` reads stays as it is
    path.write_bytes(
        {
            "empty": b"",
            "half": content[: len(content) // 2],
            "no end": content[:-1],
            "other bytes": content[:200] + bytes(len(content) - 400) + content[-200:],
            "text": b"no store\n" * 100,
            "swapped": content.replace(pair, swapped),
            "another": another,
            "counts": content.replace(b'"num_cut_words": 7', b'"num_cut_words": 8'),
            "a value": content[:value] + b"\x01" + content[value + 1 :],
        }[damage]
    )
    again = stored(tmp_path, "key", build)
    assert (again.num_damaged, same(again, expected)) == (1, True)
    assert stored(tmp_path, "key", never).num_damaged == 0


def start(folder: Path, last: str) -> subprocess.Popen[str]:
    """A process that builds a store of two chunks and does `last` between them."""
    program = (
        "import os, signal, sys, time\nfrom pathlib import Path\nfrom openflan.tokens.store import Chunk, stored\n"
        "def chunks():\n    print('built')\n    yield Chunk('mood', [0], [[5] * 100_000], [1])\n"
        f"    {last}\n    yield Chunk('mood', [1], [[5]], [1])\n"
        "print(len(stored(Path(sys.argv[1]), 'key', chunks)))\n"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_builds_and_the_others_wait(tmp_path):
    processes = [start(tmp_path, "time.sleep(0.5)") for _ in range(3)]
    printed = sorted(process.communicate(timeout=60)[0] for process in processes)
    assert printed == ["2\n", "2\n", "built\n2\n"]
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == [files.LOCK, NAME]


def test_a_killed_builder_leaves_nothing_that_is_taken_for_a_store(tmp_path):
    process = start(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate(timeout=60)
    assert process.returncode == -9
    left = [path for path in (tmp_path / "key").iterdir() if path.name != files.LOCK]
    assert len(left) == 1 and left[0].stat().st_size > 100_000
    assert len(stored(tmp_path, "key", build)) == 5
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == [files.LOCK, NAME]


def test_an_error_while_building_leaves_nothing(tmp_path):
    def chunks() -> Iterator[Chunk]:
        yield CHUNKS[0]
        raise ValueError("of a row")

    with pytest.raises(ValueError, match="of a row"):
        stored(tmp_path, "key", chunks)
    assert [path.name for path in (tmp_path / "key").iterdir()] == [files.LOCK]


def test_a_full_disk_is_told_with_the_place(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(RunError, match=f"{tmp_path}/key/tokens.arrow: found .*Free some space.*OPENFLAN_CACHE"):
            stored(tmp_path, "key", lambda: iter([Chunk("mood", [0], [[5] * 100_000], [1])]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "key").iterdir()] == [files.LOCK]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"tokens/key: found Not a directory.*OPENFLAN_CACHE"):
        stored(tmp_path / "file" / "tokens", "key", build)


def test_where_stores_lie(monkeypatch):
    monkeypatch.setenv("OPENFLAN_CACHE", "/fast/disk")
    assert default_folder() == Path("/fast/disk/tokens")
    monkeypatch.setenv("OPENFLAN_CACHE", "")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_folder() == Path("/home/ann/.cache/openflan/tokens")


def test_the_code_counts_and_where_it_lies_does_not(tmp_path):
    package = Path(sys.modules["openflan"].__path__[0])
    print_it = "from openflan.tokens.store import code_fingerprint; print(code_fingerprint())"

    def of(folder: Path) -> str:
        environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", print_it]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    for source in package.rglob("*.py"):
        target = tmp_path / "openflan" / source.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    assert of(tmp_path) == code_fingerprint()
    changed = tmp_path / "openflan" / "templates" / "render.py"
    changed.write_text(changed.read_text() + "\n# another line\n")
    assert of(tmp_path) != code_fingerprint()
