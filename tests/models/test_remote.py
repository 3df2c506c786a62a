import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer

from completions_server import CompletionsServer, Kind, serving
from openflan.errors import ConfigError, ModelError, OpenFlanError, RunError
from openflan.evaluation.requests import Request, requests_for
from openflan.evaluation.run import evaluate
from openflan.evaluation.settings import EvalSettings
from openflan.models import remote as remote_module
from openflan.models.lm import HuggingFaceModel
from openflan.models.remote import RemoteModel, Ways, _models, _most_positions, load_remote
from openflan.models.server import CONNECT_S, KEY, Reply, Server
from openflan.models.tokenizer import train_tokenizer
from openflan.tokens.batch import Batch, collate
from openflan.tokens.encode import Lengths
from openflan.tokens.pack import Pack, branched_segment, plain_segment, shared_segment
from toys import choice_example, draw_ids, text_example, toy_model, toy_task, toy_tokenizer

pytestmark = pytest.mark.usefixtures("socket_enabled")


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture(scope="module")
def model() -> HuggingFaceModel:
    return toy_model("llama")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    toy_tokenizer().save_pretrained(folder)
    return str(folder)


@contextmanager
def remote(
    model: HuggingFaceModel, tokenizer: str, kind: Kind = "vllm", port: int = 0
) -> Iterator[tuple[RemoteModel, CompletionsServer]]:
    """A model behind a running server; between attempts there is no pause."""
    with serving(model, kind, port) as server:
        found = load_remote(server.url, tokenizer)
        found.server = replace(found.server, pauses_s=(0.0, 0.0))
        server.asked.clear()
        yield found, server


def batch_of_trees() -> Batch:
    """Two rows: options of several lengths, one that another begins with, equal ones; prompts that share a trunk; and
    a segment without branches."""
    a, b, c = draw_ids(1, 9), draw_ids(2, 4), draw_ids(3, 1)
    first = branched_segment(0, draw_ids(4, 12), [a, a[:4], c, c])
    shared = shared_segment(1, draw_ids(5, 20), [(draw_ids(6, 3), [a, b]), (draw_ids(7, 5), [c, b, a])])
    return collate([Pack(200, [first, plain_segment(2, draw_ids(8, 6), 2)]), Pack(200, [shared])])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_log_probs_are_those_of_the_model_itself(kind, tokenizer):
    model, batch = toy_model(kind), batch_of_trees()
    with remote(model, tokenizer) as (found, server):
        log_probs = found.log_probs(batch)
    assert log_probs.dtype is torch.float32
    assert log_probs.shape == (15 + 2 + 27,)
    torch.testing.assert_close(log_probs, model.log_probs(batch), atol=1e-4, rtol=0)
    assert len(server.asked) == 3 + 1 + 5  # equal options are asked once
    assert {(body["max_tokens"], body["echo"], body["temperature"]) for body in server.asked} == {(1, True, 0)}


def test_texts_are_those_of_the_model_itself(model, tokenizer):
    prompts = [model.codec.prompt_ids(text) for text in ("Did the cat sit?", "Tom", "The dog ran to the river.")]
    with remote(model, tokenizer) as (found, server):
        texts = found.generate(prompts, 12)
        stopped = found.generate(prompts[:1], 1, ["cat"])
    assert texts == model.generate(prompts, 12)
    assert any(len(text) == 12 for text in texts)
    assert stopped == [texts[0][:1]]
    assert [body.get("stop") for body in server.asked] == [None, None, None, ["cat"]]
    assert all(body["repetition_penalty"] == 1.0 for body in server.asked)


def test_end_of_text_is_left_out(model, tokenizer, monkeypatch):
    written = [[5, 6], [7, 8, 9]]
    with remote(model, tokenizer) as (found, _):
        monkeypatch.setattr(HuggingFaceModel, "generate", lambda self, prompts, limit: [written[len(prompts[0]) - 1]])
        assert found.generate([[4], [4, 4]], 3) == written  # the first one came with the end of text behind it


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("vllm", Ways(ranks=True, takes_ids=True, takes_additions=True)),
        ("openai", Ways(ranks=True, takes_ids=True, takes_additions=False)),
        ("no_echo", Ways(ranks=False, takes_ids=True, takes_additions=False)),
        ("text_only", Ways(ranks=False, takes_ids=False, takes_additions=False)),
    ],
)
def test_what_a_server_can_do_is_found_out(model, tokenizer, kind, ways):
    with remote(model, tokenizer, kind) as (found, server):
        assert found.ways == ways
        assert ("generation only" in str(found.ways)) is not ways.ranks
        if ways.ranks:
            assert len(found.log_probs(batch_of_trees())) == 44
        else:
            with pytest.raises(ModelError, match=r"gives no log-probabilities of a prompt.*free-text answers"):
                found.log_probs(batch_of_trees())
            assert server.asked == []
        prompt = model.codec.prompt_ids("Did the cat sit?")
        texts = [model.codec.decode(ids) for ids in found.generate([prompt], 8)]
        assert texts == [model.codec.decode(ids) for ids in model.generate([prompt], 8)]
        assert isinstance(server.asked[-1]["prompt"], list) is ways.takes_ids


def test_a_prompt_that_is_not_plain_text_needs_a_server_that_takes_ids(model, tokenizer):
    message = "takes no token ids, which this chat template or separator needs"
    with serving(model, "text_only") as server, pytest.raises(ModelError, match=message):
        load_remote(server.url, tokenizer, separator="<eos>")


def test_a_separator_goes_to_the_server_as_ids(model, tokenizer):
    with serving(model) as server:
        found = load_remote(server.url, tokenizer, separator="<eos>")
        assert found.codec.between == (0,)


def test_minus_infinity_comes_back(model, tokenizer, monkeypatch):
    with remote(model, tokenizer) as (found, server):
        choice = {"logprobs": {"token_logprobs": [None, -9999.0, -1.5, -2.0]}}
        monkeypatch.setattr(server, "complete", lambda body: (200, {"choices": [choice]}))
        batch = collate([Pack(9, [plain_segment(0, [5, 6, 7], 2)])])
        assert found.log_probs(batch).tolist() == [-float("inf"), -1.5]


def test_an_answer_of_another_length_is_refused(model, tokenizer, monkeypatch):
    with remote(model, tokenizer) as (found, server):
        choice = {"logprobs": {"token_logprobs": [None, -1.5, -2.0, -1.0, -1.0]}}
        monkeypatch.setattr(server, "complete", lambda body: (200, {"choices": [choice]}))
        with pytest.raises(ModelError, match="the log-probabilities of the 3 tokens of its prompt"):
            found.log_probs(collate([Pack(9, [plain_segment(0, [5, 6, 7], 2)])]))


def other_tokenizer(folder) -> str:
    """Ids for other texts, in other numbers."""
    train_tokenizer(("Zebras yawn. " * 9, "Zoë's bill of 1984: $12.50!\n" * 9), 300).save_pretrained(folder)
    return str(folder)


def larger_tokenizer(folder) -> str:
    tokenizer = AutoTokenizer.from_pretrained(toy_tokenizer_folder(folder))
    tokenizer.add_tokens([f"<new {i}>" for i in range(9)])
    tokenizer.save_pretrained(folder)
    return str(folder)


def toy_tokenizer_folder(folder) -> str:
    toy_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (other_tokenizer, "vllm", "whose ids of .* the server reads as .*the tokenizer of toy at http"),
        (other_tokenizer, "text_only", r"cuts a text into \d+ tokens, of which the server counts \d+"),
        (
            larger_tokenizer,
            "vllm",
            r"with \d+ ids, the last of which the server refuses .*Token id 3\d\d is out of voc",
        ),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(model, tmp_path, make, kind, message):
    with serving(model, kind) as server, pytest.raises(ModelError, match=message) as caught:
        load_remote(server.url, make(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "Give --tokenizer the folder of the model that is served." in str(caught.value)


def test_of_several_models_one_is_named(model, tokenizer):
    with serving(model) as server:
        server.names = ["toy", "other"]
        with pytest.raises(ModelError, match=r"found 2 models \(other, toy\).*--model-name"):
            load_remote(server.url, tokenizer)
        assert load_remote(server.url, tokenizer, "other").name == "other"
        with pytest.raises(ModelError, match=r"The model `otter` does not exist.*Did you mean other\?"):
            load_remote(server.url, tokenizer, "otter")


def test_the_fingerprint_tells_models_apart(model, tokenizer, tmp_path):
    with serving(model) as server:
        server.names = ["toy", "other"]
        prints = [load_remote(server.url, tokenizer, name).fingerprint for name in ("toy", "other", "toy")]
        spaced = load_remote(server.url, tokenizer, "toy", separator=" ").fingerprint
    assert prints[0] == prints[2]
    assert len({*prints, spaced}) == 3


def test_the_longest_sequence_is_the_servers(model, tokenizer):
    with remote(model, tokenizer) as (found, _):
        assert found.max_positions == 127  # one token is generated
        longest = collate([Pack(200, [plain_segment(0, draw_ids(1, 127), 2)])])
        assert found.log_probs(longest).shape == (2,)
        with pytest.raises(ModelError, match="a refusal: HTTP 400: This model's maximum context length is 128 tokens"):
            found.log_probs(collate([Pack(200, [plain_segment(0, draw_ids(1, 128), 2)])]))


@pytest.mark.parametrize("fault", [0, 429, 500, 503])
def test_what_passes_is_asked_again(model, tokenizer, fault):
    batch = batch_of_trees()
    with remote(model, tokenizer) as (found, server):
        server.faults = [fault, fault]
        torch.testing.assert_close(found.log_probs(batch), model.log_probs(batch), atol=1e-4, rtol=0)
        assert len(server.asked) == 9 + 2


def test_what_does_not_pass_is_not_asked_again(model, tokenizer):
    with remote(model, tokenizer) as (found, server):
        server.faults = [400]
        with pytest.raises(ModelError, match="a refusal: HTTP 400: not now"):
            found.generate([[5, 6]], 3)
        assert len(server.asked) == 1


def test_pauses_grow_and_the_server_may_ask_for_a_longer_one(model, tokenizer, monkeypatch):
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    with remote(model, tokenizer) as (found, server):
        found.server = Server(server.url)
        server.faults, server.retry_after = [503, 429, 0, 503], "7"
        monkeypatch.setattr(asyncio, "sleep", note)
        found.generate([[5, 6]], 3)
    assert pauses == [7, 7, 4, 8]  # the third time it hung up


def test_a_server_that_stays_silent_is_not_waited_for(model, tokenizer):
    with remote(model, tokenizer) as (found, server):
        found.server = replace(found.server, seconds=0.05)
        server.wait_s = 0.2
        with pytest.raises(RunError, match=r"no whole answer within 0\.05 seconds; .* set OPENFLAN_SERVER_SECONDS"):
            found.generate([[5, 6]], 3)


def test_a_few_requests_are_in_flight(model, tokenizer):
    with remote(model, tokenizer) as (found, server):
        found.server = replace(found.server, num_in_flight=3)
        server.wait_s = 0.05
        texts = found.generate([[5, n] for n in range(6, 18)], 1)
        assert len(texts) == 12
        assert server.max_in_flight == 3


@pytest.mark.parametrize(
    "choice",
    [
        {"text": "x", "token_ids": [5, -1]},
        {"text": "x", "token_ids": [5, 2**32]},
        {"text": "x", "token_ids": [10**400]},
        {"text": None},
        {},
        {"text": ["a"], "token_ids": [1.5]},
    ],
    ids=str,
)
def test_a_choice_that_is_none(model, tokenizer, choice):
    with remote(model, tokenizer) as (found, server):
        server.page = json.dumps({"choices": [choice]})
        with pytest.raises(ModelError, match=r"found (token ids that no tokenizer has|an answer without its text);"):
            found.generate([[5, 6]], 3)


def test_half_a_surrogate_pair_in_a_text_is_replaced(model, tokenizer):
    with remote(model, tokenizer) as (found, server):
        server.page = r'{"choices": [{"text": "cat \ud83d"}]}'
        assert found.generate([[5, 6]], 3) == [model.codec.encode("cat ?")]


@pytest.mark.parametrize("value", ["NaN", "0.5", "1e999", "9" * 400, '"-1"', "null", "[]"])
def test_log_probs_that_are_none(model, tokenizer, value):
    with remote(model, tokenizer) as (found, server):
        server.page = f'{{"choices": [{{"logprobs": {{"token_logprobs": [null, {value}, -1.0, -1.0]}}}}]}}'
        with pytest.raises(ModelError, match="found an answer without them; expected the log-probabilities of the 4"):
            found.log_probs(collate([Pack(8, [plain_segment(0, draw_ids(1, 4), 3)])]))


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"id": "toy", "max_model_len": 128}, 127),
        ({"id": "toy", "max_model_len": -5}, 1 << 30),
        ({"id": "toy", "max_model_len": 10**400}, 1 << 30),
        ({"id": "toy", "meta": {"n_ctx": "many"}}, 1 << 30),
    ],
)
def test_what_a_list_of_models_says(listed, expected):
    assert _most_positions(listed) == expected


def test_names_that_no_folder_could_have_are_passed_over():
    names = ["toy", "a\0b", "a\nb", "", "x" * 201, "\x1b[2J", {"a": 1}]
    assert list(_models(Reply(200, {"data": [*({"id": name} for name in names), 7, {}]}))) == ["toy", "{'a': 1}"]
    assert _models(Reply(200, {"data": {"id": 1}})) == {}


def test_inside_a_running_event_loop_as_in_a_notebook(model, tokenizer):
    async def cell() -> list[list[int]]:
        with remote(model, tokenizer) as (found, _):
            return found.generate([[5, 6]], 3)

    assert asyncio.run(cell()) == model.generate([[5, 6]], 3)


REQUESTS = 8


def requests() -> list[Request]:
    """Four choices and four texts, in two wordings."""
    mood, name = toy_task("mood"), toy_task("name", "text", max_new_tokens=4)
    moods = [choice_example(n, "the cat " * n, ("yes", "no", f"{n}")) for n in range(4)]
    names = [text_example(n, "the dog " * n, ("Tom",), "name") for n in range(4)]
    return requests_for([mood, name], {"mood": moods, "name": names}, EvalSettings())


def test_a_server_that_goes_away_costs_nothing_that_was_done(model, tokenizer, tmp_path):
    asked, settings = requests(), EvalSettings(pack_tokens=64, packs_per_batch=1, texts_per_batch=2)
    lengths, store = Lengths(64, 16), tmp_path / "predictions.jsonl"
    with remote(model, tokenizer) as (found, server):
        whole = evaluate(found, asked, settings, lengths, tmp_path / "whole.jsonl")
        num_asked = len(server.asked)
        server.num_left = num_asked // 2
        with pytest.raises(RunError, match=r"no answer after 3 attempts: .*predictions made so far are kept"):
            evaluate(found, asked, settings, lengths, store)
        port = server.server_address[1]
    kept = store.read_text().splitlines()
    assert 0 < len(kept) < len(asked) == 2 * REQUESTS
    with remote(model, tokenizer, port=port) as (found, server):
        again = evaluate(found, asked, settings, lengths, store)
        assert 0 < len(server.asked) < num_asked
    assert again == whole
    assert store.read_text().splitlines()[: len(kept)] == kept
    assert len(store.read_text().splitlines()) == len(asked)
    local = evaluate(model, asked, settings, lengths, tmp_path / "local.jsonl")
    for ours, theirs in zip(again, local, strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
        assert replace(ours, logprobs=theirs.logprobs) == theirs


def test_no_server_is_told_at_once(model, tokenizer):
    with serving(model) as server:
        url = server.url
    with pytest.raises(RunError, match=r"no answer: .*connect.*Start it again, or correct the address"):
        load_remote(url, tokenizer)


def test_a_server_that_does_not_list_its_models_is_waited_for_shortly(tokenizer, monkeypatch):
    """Ten seconds, however long a completion may take: whoever mistypes an address learns of it at once."""
    monkeypatch.setattr(remote_module, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(RunError, match=r"no whole answer within 0\.3 seconds"):
            load_remote(url, tokenizer, seconds=3600)
    assert CONNECT_S == 10


def test_the_key_goes_to_the_server_and_nowhere_else(model, tokenizer, monkeypatch):
    with serving(model) as server:
        server.key = "s3cret"
        with pytest.raises(ModelError, match=f"refuses requests without a key in {KEY}") as caught:
            load_remote(server.url, tokenizer)
        monkeypatch.setenv(KEY, "s3cret\n")
        found = load_remote(server.url, tokenizer)
        assert {name.lower(): value for name, value in server.headers.items()}["authorization"] == "Bearer s3cret"
        assert "s3cret" not in repr([vars(found), found.server])
        monkeypatch.setenv(KEY, "wr0ng")
        with pytest.raises(ModelError, match=r"refuses the key in .*Incorrect key: Bearer \*\*\*") as caught:
            found.generate([[5]], 1)
        assert "wr0ng" not in str(caught.value)


def test_a_key_that_cannot_be_sent_is_not_shown(model, tokenizer, monkeypatch):
    monkeypatch.setenv(KEY, "s3cret\nX-Other: 1")
    with serving(model) as server, pytest.raises(ConfigError, match="characters that no key has") as caught:
        load_remote(server.url, tokenizer)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000/v1", "the address localhost:8000/v1"),
        ("ftp://host/v1", "expected http:// or https://"),
        ("http:///v1", "a host and a path"),
        ("http://host:port/v1", "an address that cannot be read"),
        ("http://me:s3cret@host/v1", "an address with a password in it"),
        ("http://host/v1?key=s3cret", "http:// or https://, a host and a path"),
    ],
)
def test_an_address_that_is_none(url, message, tokenizer):
    with pytest.raises(ConfigError, match=message) as caught:
        load_remote(url, tokenizer)
    assert "me:s3cret" not in str(caught.value)


def test_another_kind_of_server_is_told_from_one_of_completions(model, tokenizer, monkeypatch):
    with serving(model) as server:
        with pytest.raises(ModelError, match=r"no list of its models \(HTTP 404.*Check the address"):
            load_remote(server.url.removesuffix("/v1"), tokenizer)
        monkeypatch.setattr(server, "page", "<html>Welcome</html>")
        with pytest.raises(ModelError, match=r"not an object in JSON .<html>Welcome.*usually ends in /v1"):
            load_remote(server.url, tokenizer)


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(OpenFlanError, match="tokenizer"):
        load_remote("http://127.0.0.1:1/v1", str(tmp_path))
