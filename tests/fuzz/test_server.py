"""What a server answers, over a real socket: its models, the scores of a prompt, and what it writes."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import torch

from fuzz.mutate import fuzz, json_files, only_openflan_errors
from openflan.models.remote import RemoteModel, Ways, _models, _most_positions
from openflan.models.server import Server
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, plain_segment
from toys import toy_model

MODELS = {"data": [{"id": "toy", "max_model_len": 128, "root": "/toy", "meta": {"n_ctx": 64}}]}
SCORED = {"text": "a cat", "logprobs": {"token_logprobs": [None, -0.5, -1.5, -2.5]}}
WRITTEN = {"text": "a cat", "token_ids": [5, 6], "logprobs": {"content": [{"id": 5}, {"id": 6}]}}
BATCH = collate([Pack(8, [plain_segment(0, [5, 6, 7, 8], 3)])])


class Answers(HTTPServer):
    content = b""


class Handler(BaseHTTPRequestHandler):
    server: Answers

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    do_POST = do_GET


@pytest.fixture
def answers(socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    monkeypatch.delenv("OPENFLAN_API_KEY", raising=False)
    with Answers(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def server_of(answers: Answers) -> Server:
    return Server(f"http://127.0.0.1:{answers.server_address[1]}/v1", pauses_s=(), seconds=5)


@pytest.fixture
def model(answers: Answers) -> RemoteModel:
    return RemoteModel(server_of(answers), "toy", toy_model("llama").codec, Ways(True, True, True))


@fuzz(json_files(MODELS))
def test_models(answers, content):
    answers.content = content

    def read():
        found = _models(server_of(answers).get("models"))
        return [_most_positions(about) for about in found.values()]

    found = only_openflan_errors(read)
    assert not isinstance(found, list) or all(0 < number <= 1 << 30 for number in found)


@fuzz(json_files({"choices": [SCORED]}))
def test_scored(answers, model, content):
    answers.content = content
    found = only_openflan_errors(model.log_probs, BATCH)
    assert not isinstance(found, torch.Tensor) or bool((found <= 1e-3).all())


@fuzz(json_files({"choices": [WRITTEN]}))
def test_written(answers, model, content):
    answers.content = content
    only_openflan_errors(lambda: [model.codec.decode(ids) for ids in model.generate([[5, 6]], 3)])


@fuzz(json_files({"error": {"message": "no", "detail": ["no"]}}))
def test_refused(answers, content):
    answers.content = content
    only_openflan_errors(lambda: Server(server_of(answers).url, pauses_s=(), passing=frozenset({200})).get("models"))
