"""`openflan tasks check` on real rows: all of them, and what is not there is said."""

import gzip
import json

import pytest

from openflan.tasks.catalog import CATALOG, load_catalog

RTE = CATALOG / "flan" / "natural_language_inference" / "rte.yaml"
CB = CATALOG / "flan" / "natural_language_inference" / "cb.yaml"


def rte_rows(num_rows):
    return [
        {"premise": f"The club of Ward {i} met on Monday.", "hypothesis": f"Club {i} met.", "label": i % 2}
        for i in range(num_rows)
    ]


@pytest.fixture
def data_root(tmp_path):
    (tmp_path / "rte").mkdir()
    for split, num_rows in (("train", 700), ("validation", 30)):
        lines = "".join(json.dumps(row) + "\n" for row in rte_rows(num_rows))
        (tmp_path / "rte" / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path


def num_rendered(out):
    [line] = [line for line in out.splitlines() if line.endswith(" prompts rendered")]
    return int(line.split()[0].replace(",", ""))


def test_all_rows_of_all_splits_are_rendered_with_all_templates(call, data_root):
    ended = call("tasks", "check", RTE, "--data-root", data_root)
    assert (ended.code, ended.err) == (0, "")
    num_samples = len(load_catalog().task("rte").card.samples)
    assert num_rendered(ended.out) == (700 + 30 + num_samples) * 10
    assert num_rendered(call("tasks", "check", RTE, "--data-root", data_root, "--limit", 5).out) < 300


def test_a_task_without_rows_is_named(call, data_root):
    ended = call("tasks", "check", RTE, CB, "--data-root", data_root)
    assert ended.code == 0
    assert f"1 tasks without rows under {data_root}, checked on less: cb (train, test)\n" in ended.out
    (data_root / "rte" / "validation.jsonl.gz").unlink()
    ended = call("tasks", "check", RTE, "--data-root", data_root)
    assert "checked on less: rte (test)\n" in ended.out
    assert "without rows" not in call("tasks", "check", RTE).out


def test_a_problem_of_one_row_among_many_is_found_with_its_number(call, data_root):
    rows = rte_rows(700)
    rows[612]["premise"] = " "
    (data_root / "rte" / "train.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    ended = call("tasks", "check", RTE, "--data-root", data_root)
    assert ended.code == 1
    assert "rte.yaml, rte/train/612: an empty field: 'premise'" in ended.out


def test_labels_that_the_rows_lack_are_a_finding(call, data_root):
    for split in ("train", "validation"):
        lines = "".join(json.dumps({**row, "label": 0}) + "\n" for row in rte_rows(100))
        (data_root / "rte" / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    ended = call("tasks", "check", RTE, "--data-root", data_root)
    assert ended.code == 1
    assert "rte.yaml, rte: a label that none of the rows has: 'no'" in ended.out


def test_a_handful_of_rows_will_do(call, data_root):
    lines = "".join(json.dumps(row) + "\n" for row in rte_rows(3))
    (data_root / "rte" / "train.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    ended = call("tasks", "check", RTE, "--data-root", data_root)
    assert (ended.code, ended.err) == (0, "")


def test_rows_with_the_same_input_are_told(call, tmp_path):
    (tmp_path / "common_gen").mkdir()
    texts = ["A child flies a kite.", "The kite drags the child."]
    lines = [json.dumps({"concepts": ["kite", "child"], "target": text}) for text in texts]
    for split in ("train", "validation"):
        (tmp_path / "common_gen" / f"{split}.jsonl").write_text("\n".join(lines))
    card = CATALOG / "flan" / "struct_to_text" / "common_gen.yaml"
    ended = call("tasks", "check", card, "--data-root", tmp_path)
    assert ended.out.splitlines()[0] == "common_gen: 1 of 2 test rows merged into an earlier row with the same input"


def test_references_that_a_metric_cannot_score_are_findings(call, tmp_path):
    card = CATALOG / "flan" / "miscellaneous" / "math_dataset.yaml"
    text = card.read_text().replace("metrics: [exact_text]", "metrics: [bleu]")
    (tmp_path / "sums.yaml").write_text(text)
    ended = call("tasks", "check", tmp_path / "sums.yaml")
    assert ended.code == 1
    assert "sums.yaml, sums: the references do not earn 1 by bleu for themselves: " in ended.out
