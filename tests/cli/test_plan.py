"""`openflan plan`: what it shows, what it compares, and what it stops at."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from openflan.models.folder import EMBEDDED


def test_a_plan_for_people_and_programs(call, recipe, finished):
    plans = json.loads(call("plan", recipe, "--json", "--no-tokens").out)
    assert [plan["held_out"] for plan in plans] == ["sentiment", "translation"]
    for plan in plans:
        assert plan == json.loads(
            (finished.directory / plan["held_out"] / "plan.json").read_text()
        )  # what is shown is run
    text = call("plan", recipe, "--no-tokens").out
    assert "Held out: sentiment   plan " in text and "40 prompts" in text
    assert "left out: world_sst: its cluster, sentiment, is held out" in text
    assert "inverted wordings: as many as there are asked" in text
    assert "training rows that show a held-out row: none" in text


def test_a_plan_in_tokens_needs_no_weights(call, recipe, tmp_path, monkeypatch, finished):
    model = tmp_path / "model"
    shutil.copytree(EMBEDDED, model)
    (model / "model.safetensors").unlink()
    monkeypatch.setenv("OPENFLAN_CACHE", str(tmp_path / "cache"))
    changes = "--set", "mixture.few_shot_share=0.5", "--set", "mixture.max_exemplars=1", "--set", f"model.path={model}"
    args = "plan", recipe, *changes, "--set", "held_out=[translation]"
    [plan] = json.loads(call(*args, "--json").out)
    tokens = plan["tokens"]
    assert sum(task["num_supervised"] for task in tokens["by_task"].values()) == tokens["counts"]["num_supervised"]
    assert tokens["by_task"].keys() == plan["tasks"].keys()
    assert 0 < tokens["counts"]["num_supervised"] < tokens["counts"]["num_tokens"]
    assert 0 <= tokens["padding_packed"] < 1 and 0 < tokens["padding_alone"] < 1
    assert tokens["num_updates"] == tokens["counts"]["num_packs"]  # a pack an update
    assert tokens["num_parameters"] == 627_072
    assert tokens["memory_bytes"] > 4 * 627_072 and tokens["seconds"] > 0

    text = call(*args, "--set", "train.optimizer=adafactor", "--set", "train.learning_rate=3e-5").out
    assert "note: Adafactor changes a weight by at most 0." in text
    for part in ("supervised tokens", "% packed", "updates: ", "627,072 parameters", "few-shot prompts: 50.0% asked"):
        assert part in text


def test_what_a_run_trains_on_is_what_the_plan_counted(call, recipe, tmp_path, monkeypatch, finished):
    monkeypatch.setenv("OPENFLAN_CACHE", str(tmp_path / "cache"))
    [plan, _] = json.loads(call("plan", recipe, "--json").out)
    totals = json.loads((finished.directory / "sentiment" / "tuned" / "totals.json").read_text())
    assert plan["tokens"]["num_updates"] == totals["num_updates"]
    for key in ("num_tokens", "num_supervised", "num_packs"):
        assert plan["tokens"]["counts"][key] == totals[key]


def test_a_plan_tells_of_rows_left_out_for_their_text_and_of_rows_dropped(call, data_rows):
    ended = call("plan", data_rows, "--data-root", data_rows.parent, "--no-tokens")
    assert (ended.code, ended.err) == (0, "")
    assert "training rows that show a held-out row: 2, left out\n    sst2: 2 by the same text\n" in ended.out
    assert "rows of sst2/train: 1 dropped: " in ended.out
    assert " of 2\n" in ended.out  # six: two of them seen in TREC's test, one without a label, one for dev


def test_the_gate_stops_and_names_the_rows(call, data_rows):
    args = "plan", data_rows, "--data-root", data_rows.parent, "--no-tokens", "--set", "mixture.overlap=stop"
    ended = call(*args)
    assert (ended.code, ended.out) == (2, "")
    for part in ("sst2/train/0 and trec/test/0", "2 training rows", "2 with the same text", "--allow-overlap REASON"):
        assert part in ended.err

    ended = call(*args, "--allow-overlap", "to see: what it is worth")
    assert "show a held-out row: 2, TRAINED ON: to see: what it is worth" in ended.out
    [plan] = json.loads(call(*args, "--allow-overlap", "a test", "--json").out)
    assert plan["overlap"]["reason"] == "a test"
    assert plan["overlap"]["rows"] == ["sst2/train/0", "sst2/train/1"]

    ended = call(*args, "--allow-overlap", " ")
    assert ended.code == 2 and "mixture.allow_overlap" in ended.err


@pytest.fixture
def data_rows(tmp_path: Path) -> Path:
    """A recipe on rows of our own, in the form of two real datasets: two training rows repeat a held-out question."""
    questions = [f"Which of the {n} rivers on this map is the longest?" for n in ("two", "three", "four", "five")]
    sentences = [*(q.upper() for q in questions[:2]), *(f"A warm and funny film, number {n}." for n in range(3))]
    rows = {
        "sst2/train": [{"sentence": text, "label": 1} for text in sentences] + [{"sentence": "?", "label": -1}],
        "trec/test": [{"text": text, "coarse_label": 4} for text in questions],
    }
    for name, content in rows.items():
        path = tmp_path / f"{name}.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    recipe = {
        "name": "own",
        "held_out": ["miscellaneous"],
        "data": {"tasks": ["sst2"], "evaluate": ["trec"]},
        "mixture": {"num_examples": 5, "overlap": "remove"},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path / "own.yaml"


def test_two_plans_side_by_side(call, recipe, tmp_path):
    other = yaml.safe_load(Path(recipe).read_text())
    other["name"] = "other"
    other["data"]["tasks"] = ["world_rte", "world_piqa", "world_sst", "world_cola"]
    other["mixture"] |= {"templates_per_task": 1, "overlap": "remove"}
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(other))
    ended = call("plan", recipe, "--against", path)
    assert (ended.code, ended.err) == (0, "")
    for part in (
        "Held out: sentiment\n",
        "mixture.templates_per_task: None against 1",
        "only in tiny: world_trec",
        "only in other: world_cola",
        "40 against 40",
    ):
        assert part in ended.out
    found = json.loads(call("plan", recipe, "--against", path, "--json").out)
    assert [part["held_out"] for part in found] == ["sentiment", "translation"]
    assert 0 < found[0]["num_shared_prompts"] < found[0]["num_shared_rows"] < 40
    assert found[0]["settings"]["name"] == ["tiny", "other"]


def test_a_plan_against_itself_and_against_another_setting(call, recipe):
    same = json.loads(call("plan", recipe, "--against", recipe, "--json").out)[0]
    assert same["settings"] == same["shares"] == {} and same["only_in"] == [[], []]
    assert same["num_shared_prompts"] == 40
    assert "(the same plan)" in call("plan", recipe, "--against", recipe).out
    changed = json.loads(call("plan", recipe, "--against-set", "mixture.few_shot_share=1", "--json").out)[0]
    assert changed["settings"] == {"mixture.few_shot_share": [0.0, 1.0]}
    assert changed["num_shared_prompts"] == 0


def test_plans_that_hold_out_nothing_in_common(call, recipe):
    ended = call("plan", recipe, "--against-set", "held_out=[commonsense]")
    assert ended.code == 2
    assert "held_out: found sentiment, translation against commonsense" in ended.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("mixture.num_examples=0", "mixture.num_examples: Input should be greater than or equal to 1"),
        ("data={tasks: []}", "neither `tasks` nor `collection`"),
        ("mixture.rates=explicit", "`weights` and `rates: explicit` need each other"),
        ("mixture={num_examples: 5, rates: explicit, weights: {world_rte: -1}}", "mixture.weights.world_rte"),
        ("mixture={num_examples: 5, rates: explicit, weights: {world_rte: 1}}", "no weight for world_piqa, world_trec"),
    ],
)
def test_a_plan_of_nothing_or_of_weights_that_make_no_sense(call, recipe, change, told):
    ended = call("plan", recipe, "--set", change, "--no-tokens")
    assert ended.code == 2 and told in ended.err
