"""`openflan config`: what it prints, and what it says to a user's mistake."""

import json

import pytest
import yaml


def test_show_prints_a_recipe(call, recipe, tmp_path):
    ended = call("config", "show", recipe, "--set", "seed=4")
    assert (ended.code, ended.err) == (0, "")
    again = tmp_path / "again.yaml"
    again.write_text(ended.out)
    assert yaml.safe_load(ended.out)["seed"] == 4
    assert "seed: 4  # --set\n" in ended.out
    assert call("config", "diff", recipe, again).out == "seed: 0 -> 4\n1 setting differs\n"


def test_show_for_a_program(call, recipe):
    facts = json.loads(call("config", "show", recipe, "--json").out)
    assert facts["train.learning_rate"] == {
        "value": 0.001,
        "from": "recipe",
        "meaning": facts["train.learning_rate"]["meaning"],
    }
    assert "3e-5" in facts["train.learning_rate"]["meaning"]
    assert facts["mixture.rate_cap"]["from"] == "default"
    assert "train" not in facts


def test_show_tells_what_trains_an_adapter(call):
    facts = json.loads(call("config", "show", "recipes/flan-62.yaml", "--json").out)
    assert facts["train.optimizer"]["value"] == "adafactor"
    ended = call(
        "config", "show", "recipes/real-small.yaml", "--set", "train={}", "--set", "model.adapter={kind: lora}"
    )
    assert "  optimizer: adamw  # default\n" in ended.out
    assert "  learning_rate: 0.0002  # default\n" in ended.out


def test_diff_reads_the_directory_of_a_run(call, recipe, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.yaml").write_text(yaml.safe_dump({"fingerprint": "0", "config": {"name": "older", "gone": [1]}}))
    found = json.loads(call("config", "diff", run, recipe, "--json").out)
    assert found[:2] == [{"setting": "gone", "old": [1]}, {"setting": "name", "old": "older", "new": "tiny"}]
    assert {"setting": "seed", "new": 0} in found
    assert call("config", "diff", run, run).out == "no settings differ\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "dmo"], "found 'dmo'; expected a YAML file or a packaged study. Did you mean demo?"),
        (["show", "demo", "--set", "train.lerning_rate=1"], "Did you mean learning_rate"),
        (["diff", "demo", "nowhere.yaml"], "nowhere.yaml: found No such file"),
        (["diff", "demo", "{run}"], "run.yaml: found no `config`"),
    ],
)
def test_a_mistake_is_one_paragraph(call, tmp_path, arguments, message):
    (tmp_path / "run.yaml").write_text("fingerprint: 1")
    ended = call("config", *(argument.format(run=tmp_path) for argument in arguments))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert message in ended.err
