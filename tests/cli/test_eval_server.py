"""`openflan eval` of a model behind a server."""

import functools
import json
from pathlib import Path

import pytest

from completions_server import serving
from evaluated import make_place
from openflan.evaluation.predictions import read_predictions
from openflan.models.load import load_model
from openflan.models.server import Server
from openflan.models.settings import ModelSettings
from openflan.study.results import TEST

pytestmark = pytest.mark.usefixtures("socket_enabled")
ASK = ("--task", "world_sst", "--limit", "2", "--json")


def by_key(directory: Path) -> dict[tuple[str, str, str], tuple[float, ...]]:
    return {prediction.key: prediction.logprobs for prediction in read_predictions(directory / TEST)}


@pytest.fixture
def server():
    with serving(load_model(ModelSettings(path="base"))) as found:
        found.max_len = 1024
        yield found


def test_a_model_behind_a_server_has_the_scores_of_the_same_model_here(call, server, tmp_path):
    there = call("eval", server.url, "--tokenizer", "base", *ASK, "--out", tmp_path)
    here = call("eval", "base", *ASK, "--out", tmp_path)
    assert (there.code, here.code) == (0, 0), there.err
    [one], [other] = (json.loads(ended.out)["evaluations"] for ended in (there, here))
    found, expected = (by_key(Path(each["directory"])) for each in (one, other))
    assert len(found) == 10
    assert found.keys() == expected.keys()
    for key, logprobs in found.items():
        assert logprobs == pytest.approx(expected[key], abs=1e-4)
    scores = [[(task["score"], task["num_prompts"]) for task in each["tasks"]] for each in (one, other)]
    assert scores[0] == scores[1]
    assert one["directory"] != other["directory"]
    assert "toy-" in one["directory"]


def test_what_the_server_does_is_said_and_a_repeated_command_asks_no_prompt(call, server, tmp_path):
    ask = "eval", server.url, "--tokenizer", "base", *ASK[:4], "--out", tmp_path
    first = call(*ask)
    num_asked = len(server.asked)
    second = call(*ask)
    assert (first.code, second.code) == (0, 0)
    said = " ".join(first.out.split())
    assert "Asked through a server: prompts as token ids, with their log-probabilities." in said
    assert second.out == first.out
    assert len(server.asked) - num_asked == 4 < num_asked  # what the server does, and whether the tokenizer is its own


def test_options_are_not_ranked_by_a_server_without_log_probabilities(call, server, tmp_path):
    server.kind = "text_only"
    ended = call("eval", server.url, "--tokenizer", "base", *ASK, "--out", tmp_path)
    assert ended.code == 2
    assert "gives no log-probabilities of a prompt" in " ".join(ended.err.split())


def test_a_server_that_goes_away_in_the_middle_costs_nothing_that_was_done(call, tmp_path, monkeypatch):
    """The command ends with what to do; repeated, it asks only what is missing and gives what one run gives."""
    monkeypatch.setattr("openflan.models.remote.Server", functools.partial(Server, pauses_s=(0.0, 0.0)))
    place = make_place(tmp_path / "place")
    model = load_model(ModelSettings(path=str(place.model)))
    small = "--tokenizer", place.model, "--pack-tokens", 64, "--json"

    def ask(url: str, out: str):
        words = "eval", url, *place.arguments, "--task", "mood", "--task", "name", *small, "--out", tmp_path / out
        return call(*words)

    def serve(port: int = 0):
        return serving(model, port=port)

    with serve() as server:
        server.max_len = 512
        whole = ask(server.url, "whole")
        num_asked, url, port = len(server.asked), server.url, server.server_address[1]
    assert whole.code == 0, whole.err
    with serve(port) as server:
        server.max_len, server.num_left = 512, num_asked // 2
        ended = ask(url, "out")
    assert (ended.code, ended.out) == (2, "")
    told = " ".join(ended.err.split())
    assert "no answer after 3 attempts" in told and "predictions made so far are kept" in told
    [folder] = (tmp_path / "out").iterdir()
    kept = (folder / TEST).read_text().splitlines()
    assert 0 < len(kept) < 32
    with serve(port) as server:
        server.max_len = 512
        again = ask(url, "out")
        assert len(server.asked) < num_asked
    assert again.code == 0, again.err
    assert (folder / TEST).read_text().splitlines()[: len(kept)] == kept
    assert len((folder / TEST).read_text().splitlines()) == 32
    assert json.loads(again.out.replace(str(tmp_path / "out"), str(tmp_path / "whole"))) == json.loads(whole.out)


def test_how_long_a_request_may_take_is_an_option(call, server, tmp_path, monkeypatch):
    asked: list[float] = []

    def post(self, path, bodies, ask=Server.post):
        asked.append(self.seconds)
        return ask(self, path, bodies)

    monkeypatch.setattr(Server, "post", post)
    ask = "eval", server.url, "--tokenizer", "base", *ASK, "--out", tmp_path
    assert call(*ask, "--server-seconds", "77").code == 0
    assert len(asked) > 4 and set(asked) == {77.0}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("http://127.0.0.1:9/v1", ["--tokenizer", "base", "--server-seconds", "0"], "--server-seconds: found '0'"),
        ("http://127.0.0.1:9/v1", ["--tokenizer", "base", "--server-seconds", "nan"], "expected a number of seconds"),
        ("base", ["--server-seconds", "5"], "expected the address of a server"),
        ("http://127.0.0.1:9/v1", [], "no tokenizer for its model; expected --tokenizer DIR"),
        ("http://127.0.0.1:9/v1", ["--tokenizer", "base"], "no answer: "),
        ("base", ["--tokenizer", "base"], "expected the address of a server"),
        ("base", ["--model-name", "other"], "expected the address of a server"),
    ],
)
def test_mistakes_are_told(call, tmp_path, model, options, message):
    ended = call("eval", model, *options, *ASK, "--out", tmp_path)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
