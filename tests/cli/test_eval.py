"""`openflan eval` and `openflan results`, with a model of two layers and cards of its own."""

import json
from pathlib import Path

import pytest
import yaml
from transformers import BertConfig, BertLMHeadModel, T5Config

from evaluated import MOOD
from openflan.evaluation.predictions import Prediction, read_predictions
from openflan.finished import signed
from toys import SHAPE, toy_config, toy_tokenizer, toy_weights

KEYS = ("task", "metric", "num_examples", "num_templates", "num_prompts", "num_unscored")
pytestmark = pytest.mark.usefixtures("one_thread")
SHOTS = ("--shots", 2, "--exemplars", "fixed", "--best-dev", "--pack-tokens", 128)


@pytest.fixture(scope="module")
def alone(one_thread, call, place, tmp_path_factory) -> Path:
    """The directory of an evaluation on one process, with the best dev template."""
    out = tmp_path_factory.mktemp("alone")
    ended = call("eval", place.model, *place.arguments, "--task", "mood", "--task", "name", *SHOTS, "--out", out)
    assert (ended.code, ended.err) == (0, "")
    assert "toy (2 shots, fixed)" in ended.out and "mood" in ended.out
    [folder] = out.iterdir()
    assert f"Predictions: {folder}" in ended.out.replace("\n", "")
    return folder


def read(folder: Path, name: str = "test.jsonl") -> list[Prediction]:
    return sorted(read_predictions(folder / name), key=lambda p: p.key)


def check_same(folder: Path, alone: Path) -> None:
    """Bit for bit the same predictions, each once, whoever made them."""
    assert folder.name == alone.name
    for name, number in (("test.jsonl", 32), ("dev.jsonl", 24)):
        expected = read(alone, name)
        assert read(folder, name) == expected
        assert len(expected) == len({p.key for p in expected}) == number
        own = [path for path in folder.iterdir() if path.match(f"{name.removesuffix('.jsonl')}*.jsonl")]
        assert len(own) == 2 and all(path.stat().st_size for path in own)


@pytest.mark.usefixtures("socket_enabled")
def test_two_processes_make_what_one_makes(ask, place, alone, tmp_path):
    value = ask(place, tmp_path, "--task", "mood", "--task", "name", *SHOTS, "--processes", 2)
    [folder] = tmp_path.iterdir()
    check_same(folder, alone)
    [evaluation] = value["evaluations"]
    mood, name = evaluation["tasks"]
    assert tuple(mood[key] for key in KEYS) == ("mood", "accuracy", 8, 2, 16, 0)
    assert tuple(name[key] for key in KEYS) == ("name", "exact_match", 8, 2, 16, 0)
    assert mood["low"] <= mood["score"] <= mood["high"]
    assert mood["mean_exemplars"] == 2.0 and len(mood["templates"]) == 2


def test_two_processes_of_a_launcher_make_what_one_makes(torchrun, place, alone, tmp_path):
    asked = "--task", "mood", "--task", "name", *SHOTS
    ended = torchrun("eval", place.model, *place.arguments, *asked, "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    assert len(json.loads(ended.out)["evaluations"]) == 1  # one of them prints
    [folder] = tmp_path.iterdir()
    check_same(folder, alone)


def test_another_normalisation_needs_no_model(call, alone, monkeypatch):
    monkeypatch.setattr("openflan.models.load.load_model", None)
    monkeypatch.setattr("openflan.models.lm.HuggingFaceModel.log_probs", None)
    found = {}
    for name, called in (("sum", "sum"), ("tokens", "per_token"), ("bytes", "per_byte"), ("pmi", "pmi")):
        ended = call("results", "show", alone, "--normalisation", name, "--json")
        assert ended.code == 0, ended.err
        [evaluation] = json.loads(ended.out)["evaluations"]
        assert evaluation["normalisation"] == called
        found[name] = evaluation["tasks"][0]
    assert found["sum"]["median_margin"] != found["bytes"]["median_margin"] != found["pmi"]["median_margin"]
    assert {task["option_prior"] for task in found.values()} == {found["sum"]["option_prior"]}
    shown = call("results", "show", alone.parent)
    assert shown.code == 0 and "best dev" in shown.out and "majority" in shown.out
    by_template = call("results", "show", alone, "--by-template")
    rows = [{line.split()[0] for line in each.out.splitlines() if line.strip()} for each in (shown, by_template)]
    assert rows[1] - rows[0] == {"after", "before", "say", "who"}


def test_two_models_are_compared_on_the_same_rows(call, ask, place, tmp_path):
    other = place.write_model("other", seed=2)
    value = ask(place, tmp_path, "--task", "mood", "--baseline", other)
    first, second = value["evaluations"]
    [difference] = value["differences"]
    [task] = difference["tasks"]
    scores = [evaluation["tasks"][0]["score"] for evaluation in (first, second)]
    assert task["difference"] == pytest.approx(scores[0] - scores[1]) != 0
    assert task["low"] <= task["difference"] <= task["high"]
    assert task["p_value"] == task["adjusted"] and task["num_examples"] == 8
    assert (difference["first"], difference["second"]) == (str(place.model), str(other))
    compared = call("results", "compare", first["directory"], second["directory"])
    assert compared.code == 0
    for word in ("toy - other, paired", "mood", "p (Holm)", "McNemar", "detectable"):
        assert word in compared.out


def test_a_model_does_not_differ_from_itself(ask, place, tmp_path):
    value = ask(place, tmp_path, "--task", "mood", "--baseline", place.model)
    [difference] = value["differences"]
    [task] = difference["tasks"]
    assert (task["difference"], task["low"], task["high"], task["p_value"], task["mcnemar"]) == (0, 0, 0, 1, 1)
    assert len(list(tmp_path.iterdir())) == 1  # one model, one set of predictions


def test_the_completion_prompt_and_no_options(ask, place, tmp_path):
    for extra in (("--prompt", "completion"), ("--no-options",), ()):
        ask(place, tmp_path, "--task", "mood", *extra)
    found = {path.name: read(path) for path in tmp_path.iterdir()}
    assert len(found) == 3
    assert sorted(len(predictions) for predictions in found.values()) == [8, 16, 16]


@pytest.mark.parametrize("out", ["file", "file/below", "link", "new/folder"])
def test_where_nothing_can_be_written_is_told_before_a_model_is_loaded(call, place, tmp_path, monkeypatch, out):
    class Loaded(Exception):
        pass

    def load(*_):
        raise Loaded

    monkeypatch.setattr("openflan.study.evaluate._load", load)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "else")
    ask = "eval", place.model, *place.arguments, "--task", "mood", "--out", tmp_path / out
    if out == "new/folder":
        with pytest.raises(Loaded):
            call(*ask)
        assert not (tmp_path / "new").exists()
        return
    ended = call(*ask)
    assert ended.code == 2 and "expected a place that can be written. Choose another --out." in ended.err
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_run_holds_out(call, finished, tmp_path):
    tuned = finished.directory / "sentiment" / "tuned" / "model"
    ended = call("eval", tuned, "--held-out-of", finished.directory, "--limit", "2", "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    [evaluation] = json.loads(ended.out)["evaluations"]
    assert {task["cluster"] for task in evaluation["tasks"]} == {"sentiment"}
    [folder] = tmp_path.iterdir()
    assert folder.name.startswith("sentiment-tuned-")
    ended = call("eval", "base", "--held-out-of", finished.directory, "--limit", "2", "--out", tmp_path, "--json")
    [evaluation] = json.loads(ended.out)["evaluations"]
    assert {task["cluster"] for task in evaluation["tasks"]} == {"sentiment", "translation"}
    assert [each["name"] for each in evaluation["averages"]][-1] == "all clusters"


def test_a_run_brings_its_cards_and_rows(call, place, tmp_path, monkeypatch):
    """Also on a terminal, where a table shows what is done so far; giving the cards once more does no harm."""
    data = {"cards": [str(place.folder / "cards")], "root": str(place.folder / "data"), "evaluate": ["mood", "name"]}
    config = {"name": "own", "held_out": ["sentiment", "closed_book_qa"], "data": data, "mixture": {"num_examples": 1}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.yaml").write_text(yaml.safe_dump(signed({"fingerprint": "0123", "config": config})))
    monkeypatch.setenv("FORCE_COLOR", "1")
    asked = "--held-out-of", tmp_path / "run", "--max-target-tokens", 32, "--out", tmp_path / "out"
    for extra in ((), ("--catalog", place.folder / "cards")):
        ended = call("eval", place.model, *asked, *extra)
        assert ended.code == 0, ended.err
        assert "32 of 32 prompts" in " ".join(ended.err.split()) and "score so far" in ended.err
        assert "mood" in ended.out and "name" in ended.out
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_what_cannot_be_asked(call, place, tmp_path, alone):
    def told(*words: object) -> str:
        ended = call(*words, "--out", tmp_path) if words[0] == "eval" else call(*words)
        assert (ended.code, ended.out) == (2, "")
        return " ".join(ended.err.split())

    assert "found no task to evaluate" in told("eval", "base")
    wrong = told("eval", "base", "--cluster", "sentiment", "--collection", "wrld")
    several = told("eval", "base", "--cluster", "sentiment")
    assert "found tasks of 2 collections: flan 4, world 2; expected tasks of one collection. Choose one:" in several
    own = told("eval", "base", "--cluster", "sentiment", *place.arguments)
    assert "found tasks of 3 collections: flan 4, world 2, user 1" in own
    assert "--collection: found 'wrld'; expected a collection's name. Did you mean world?" in wrong
    assert "Did you mean tokens?" in told("eval", "base", "--task", "world_sst", "--normalisation", "token")
    assert "--no-priors" in told("eval", "base", "--task", "world_sst", "--normalisation", "pmi", "--no-priors")
    assert "exemplars" in told("eval", "base", "--task", "world_sst", "--exemplars", "few")
    assert "test rows" in told("eval", "base", "--task", "natural_questions", "--task", "wsc273", "--shots", "2")
    assert "no run.yaml" in told("eval", "base", "--held-out-of", tmp_path)
    assert "no evaluation.json" in told("results", "show", tmp_path)
    assert "found one evaluation" in told("results", "compare", alone)
    assert not any(tmp_path.iterdir())


def test_a_task_without_a_test_row(call, own_place, tmp_path):
    own_place.write_card("mood", {**MOOD, "drop_if": {"label": [0, 1]}})
    ended = call("eval", own_place.model, *own_place.arguments, "--task", "mood", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "mood.yaml: found no test row of mood (8 dropped); expected one or more." in " ".join(ended.err.split())


def test_an_evaluation_that_was_stopped_is_not_shown_as_a_whole(call, place, alone, tmp_path):
    """Its file ends in the middle of a line: the rest is asked again, and nothing else is."""
    folder = tmp_path / alone.name
    folder.mkdir()
    for path in alone.glob("*.json*"):
        (folder / path.name).write_bytes(path.read_bytes())
    lines = (folder / "test.jsonl").read_text().splitlines(keepends=True)
    (folder / "test.jsonl").write_text("".join(lines[:20]) + lines[20][:30])
    ended = call("results", "show", folder)
    assert ended.code == 2 and "found 20 predictions; expected 32" in " ".join(ended.err.split())
    asked = "--task", "mood", "--task", "name", *SHOTS
    assert call("eval", place.model, *place.arguments, *asked, "--out", tmp_path).code == 0
    again = (folder / "test.jsonl").read_text().splitlines(keepends=True)
    assert again[:20] == lines[:20] and sorted(again) == sorted(lines)


def bert(folder: Path) -> None:
    BertLMHeadModel(BertConfig(**SHAPE)).save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)


def t5(folder: Path) -> None:
    T5Config(vocab_size=320, d_model=32).save_pretrained(folder)
    (folder / "model.safetensors").touch()
    toy_tokenizer().save_pretrained(folder)


def few_ids(folder: Path) -> None:
    config = toy_config("llama")
    config.vocab_size = 300
    toy_weights(config).save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (t5, "found an encoder-decoder model (t5); expected a causal language model"),
        (bert, "looks"),
        (few_ids, "a tokenizer whose highest id is 319 and a model with 300 rows of embeddings; expected every id"),
    ],
    ids=["encoder and decoder", "both ways", "fewer embeddings than ids"],
)
def test_a_model_that_cannot_be_evaluated(call, place, tmp_path, make, message):
    make(tmp_path / "model")
    ended = call("eval", tmp_path / "model", *place.arguments, "--task", "mood", "--out", tmp_path / "out")
    assert (ended.code, ended.out) == (2, "")
    told = " ".join(ended.err.split())
    assert told.startswith(f"openflan: {tmp_path / 'model'}: found ") and message in told
    assert not (tmp_path / "out").exists()


def test_an_option_block_larger_than_the_context_has_no_score(ask, call, own_place, tmp_path):
    """Options are never cut: such a row is counted as unscored, and the others are scored."""
    own_place.write_card("mood", {**MOOD, "answer": {"kind": "choice", "options_from": ["options"], "gold": "label"}})
    rows = own_place.rows("mood", "test")
    for number, row in enumerate(rows):
        row["options"] = ["dull", "good"] if number else [f"a mood of the kind {n}" for n in range(40)]
    own_place.write("mood", "test", rows)
    [evaluation] = ask(own_place, tmp_path, "--task", "mood")["evaluations"]
    [task] = evaluation["tasks"]
    assert (task["num_prompts"], task["num_unscored"]) == (16, 1)  # the other wording lists no options
    assert {each["template"]: each["num_examples"] for each in task["templates"]} == {"after": 7, "before": 8}
    shown = call("results", "show", tmp_path).out
    assert "mood: 1 of 16 prompts unscored, and not counted as wrong" in " ".join(shown.split())


def test_where_nothing_fits_the_score_is_missing(call, place, tmp_path):
    asked = "--task", "mood", "--max-input-tokens", 5
    ended = call("eval", place.model, *place.arguments, *asked, "--out", tmp_path)
    assert ended.code == 0, ended.err
    assert "missing" in ended.out and "16 of 16 prompts unscored" in " ".join(ended.out.split())


def test_a_text_may_become_as_long_as_its_card_says(ask, own_place, tmp_path):
    """`--max-target-tokens` is what prompts leave free at most; a long reference is no reason not to ask."""
    long = " ".join(["Tom"] * 400)
    own_place.write("name", "test", [{"text": "Who ran?", "names": [long]}])
    card = own_place.folder / "cards" / "name.yaml"
    card.write_text(card.read_text().replace("max_new_tokens: 6", "max_new_tokens: 100"))
    [evaluation] = ask(own_place, tmp_path, "--task", "name", "--max-input-tokens", 400)["evaluations"]
    [task] = evaluation["tasks"]
    assert (task["num_prompts"], task["num_unscored"]) == (2, 0)
    assert task["max_new_tokens"] == 100
    [evaluation] = ask(own_place, tmp_path, "--task", "name", "--max-input-tokens", 480)["evaluations"]
    [task] = evaluation["tasks"]
    assert task["max_new_tokens"] == 32  # 512 positions, of which a prompt may take 480
