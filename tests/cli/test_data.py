"""`openflan data fetch` against a server that speaks the hub's protocol, and bad input through the command line."""

import gzip
import json
import os
import subprocess
import sys
import threading

import pytest

import fake_hub
from mood import CARD
from openflan.cli.main import main
from openflan.files import write_yaml
from openflan.tasks.readers import read_rows

SOURCE = {"hub": "somebody/mood", "config": "tone"}


@pytest.fixture
def write_card(tmp_path):
    def write(name="mood", **source):
        path = tmp_path / "cards" / f"{name}.yaml"
        write_yaml(path, {**CARD, "source": source or SOURCE})
        return path

    return write


@pytest.fixture
def hub(tmp_path, socket_enabled):
    """Runs the command line in a process of its own, which takes the server for the hub; `offline=True` has none."""
    fake_hub.write_repository(tmp_path / "repository")
    server = fake_hub.serve(tmp_path / "repository")
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(*arguments, offline=False):
        environment = {
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": str(int(offline)),
        }
        command = [sys.executable, "-m", "openflan.cli.main", *map(str, arguments)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)

    yield run
    server.shutdown()
    server.server_close()


def test_fetch(hub, write_card, tmp_path):
    card, root = write_card(), tmp_path / "data"
    done = hub("data", "fetch", "mood", "--to", root, "--catalog", card)
    assert done.stdout.splitlines() == [
        f"mood: train: 90 rows -> {root}/mood/train.jsonl.gz",
        f"mood: validation: 12 rows -> {root}/mood/validation.jsonl.gz",
        "1 of 1 tasks have their rows",
    ]
    assert done.returncode == 0
    assert sorted(path.name for path in (root / "mood").iterdir()) == [
        "SOURCE.json",
        "train.jsonl.gz",
        "validation.jsonl.gz",
    ]
    source = json.loads((root / "mood" / "SOURCE.json").read_text())
    splits = source.pop("splits")
    assert source == {"hub": "somebody/mood", "config": "tone", "revision": fake_hub.COMMIT, "licence": "CC0-1.0"}
    assert splits["train"].pop("fingerprint") != splits["validation"].pop("fingerprint")
    assert splits["train"] == {"file": "train.jsonl.gz", "num_rows": 90, "num_rows_there": 90}
    rows = list(read_rows(root / "mood" / "train.jsonl.gz"))
    assert len(rows) == 90
    assert rows[51] == {"text": "train 51", "label": 1, "words": [51]}

    checked = hub("tasks", "check", card, "--data-root", root, offline=True)
    assert checked.stdout == "104 prompts rendered\n1 tasks checked, 0 findings\n"

    (root / "mood" / "validation.jsonl.gz").unlink()
    before = (root / "mood" / "train.jsonl.gz").stat().st_mtime_ns
    again = hub("data", "fetch", "mood", "--to", root, "--catalog", card)
    assert again.stdout.splitlines()[:2] == [
        "mood: train: 90 rows are there",
        f"mood: validation: 12 rows -> {root}/mood/validation.jsonl.gz",
    ]
    assert (root / "mood" / "train.jsonl.gz").stat().st_mtime_ns == before


def test_one_failure_does_not_lose_the_others(hub, write_card, tmp_path):
    cards = [
        write_card("absent", hub="somebody/absent"),
        write_card("by_hand", hub="somebody/mood", manual="Write to somebody."),
        write_card("mood", hub="somebody/mood", config="tone", revision="refs/convert/parquet"),
        write_card("pinned", hub="somebody/mood", config="tone", revision="f" * 40),
    ]
    names = [card.stem for card in cards]
    catalog = [argument for card in cards for argument in ("--catalog", card)]
    done = hub("data", "fetch", *names, "--to", "data", "--max-rows", 50, *catalog)
    lines = done.stdout.splitlines()
    assert "mood: train: 50 rows, drawn from 90 -> data/mood/train.jsonl.gz" in lines
    assert any(line.startswith("absent: failed: somebody/absent, split train: found Dataset") for line in lines)
    assert any(line.startswith("pinned: failed: somebody/mood (tone), split train: found") for line in lines)
    assert lines[-3].startswith("by_hand needs a step by hand: Write to somebody. The folder is data/by_hand,")
    assert lines[-2:] == [
        "failed, see above: absent, pinned; the same command tries them again",
        "1 of 4 tasks have their rows",
    ]
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mood"]
    assert json.loads((tmp_path / "data" / "mood" / "SOURCE.json").read_text())["revision"] == fake_hub.COMMIT


def test_a_pinned_commit_is_never_another_one(hub, write_card, tmp_path):
    """Offline, with another commit in the cache, `datasets` alone would give that."""
    assert hub("data", "fetch", "mood", "--to", "data", "--catalog", write_card()).returncode == 0
    card = write_card(hub="somebody/mood", config="tone", revision="f" * 40)
    expected = {
        False: f"Revision '{'f' * 40}' doesn't exist",
        True: f"found only revision {fake_hub.COMMIT}, in the cache; expected revision {'f' * 40}",
    }
    for offline, message in expected.items():
        done = hub("data", "fetch", "mood", "--to", "elsewhere", "--catalog", card, offline=offline)
        assert message in done.stdout
        assert done.returncode == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def openflan(monkeypatch, capsys):
    """Runs the command line in this process: exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["openflan", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return run


def test_rows_of_ones_own_are_left_alone(openflan, write_card, tmp_path):
    folder = tmp_path / "data" / "mood"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("text,label\nFine!,1\n")
    fetch = ("data", "fetch", "mood", "--to", tmp_path / "data", "--catalog", write_card())
    code, out, _ = openflan(*fetch)
    assert code == 1
    assert "mood: train: rows of your own are there" in out
    assert "found rows that were not fetched, and no split 'validation'" in out
    (folder / "validation.csv").write_text("text,label\nAlas.,0\n")
    assert openflan(*fetch)[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["train.csv", "validation.csv"]


def test_another_dataset_in_the_folder(openflan, write_card, tmp_path):
    folder = tmp_path / "data" / "mood"
    folder.mkdir(parents=True)
    record = {"hub": "somebody/else", "config": None, "revision": None, "licence": "CC0-1.0", "splits": {}}
    (folder / "SOURCE.json").write_text(json.dumps(record))
    code, out, _ = openflan("data", "fetch", "mood", "--to", tmp_path / "data", "--catalog", write_card())
    assert code == 1
    assert "found somebody/else (None) at None; expected somebody/mood (tone) at any revision" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "data fetch: found no name; expected either names or --all."),
        (["rte", "--all"], "data fetch: found both names and --all"),
        (["rtee"], "found no task 'rtee'; expected a task's name. Did you mean rte"),
        (["../rte"], "found no task '../rte'"),
    ],
)
def test_wrong_arguments(openflan, tmp_path, arguments, message):
    code, out, err = openflan("data", "fetch", *arguments, "--to", tmp_path / "data")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "data").exists()


def test_a_file_as_target(openflan, tmp_path):
    (tmp_path / "data").write_text("")
    code, _, err = openflan("data", "fetch", "rte", "--to", tmp_path / "data")
    assert code == 2
    assert "expected a folder" in err


def test_made_by_the_package(openflan, tmp_path):
    code, out, _ = openflan("data", "fetch", "world_cb", "--to", tmp_path)
    assert (code, out.splitlines()[0]) == (0, "world_cb: made by the package, nothing to fetch")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "validation.csv",
            b"text,label\n" + b"Fine!,1\n" * 16 + b"Alas.,2\n",
            "validation.csv, row 17: found label = 2; expected 0 or 1",
        ),
        ("validation.jsonl.gz", gzip.compress(b'{"text": "Fine!", "label": 1}\n' * 9999)[:-9], "that is whole"),
        (
            "validation.jsonl",
            b'{"text": "Fine!", "label": 1}\n{"text": "\xff"}\n',
            "after row 1; expected JSONL in UTF-8",
        ),
        ("validation.csv", b"text,mood\nFine!,1\n", "validation.csv, row 1: found no field 'label'"),
        ("validation.jsonl", b"", "validation.jsonl: found no rows"),
        ("validation.parquet", b"PAR1 or so", "expected a Parquet file that is whole"),
    ],
)
def test_bad_rows_end_a_command_with_one_paragraph(openflan, write_card, tmp_path, name, content, message):
    folder = tmp_path / "data" / "mood"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"text": "Fine!", "label": 1}\n')
    (folder / name).write_bytes(content)
    files = sorted(tmp_path.rglob("*"))
    card = write_card()
    code, _, err = openflan("tasks", "check", card, "--data-root", tmp_path / "data")
    assert code == 2
    assert err.startswith("openflan: ") and err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.rglob("*")) == sorted([*files, card, card.parent])
