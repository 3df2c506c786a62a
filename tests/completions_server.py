"""A completions server of the OpenAI kind on this machine, which stands in for vLLM and others in tests of every day.

It answers with a real model, whose logits it takes from transformers itself, and takes part in the protocol as vLLM
does: prompts as ids, `echo` with `logprobs`, ids of what is generated. `kind` makes it know less. Real servers are
tested in `tests/models/test_real_servers.py`.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import torch

from openflan.models.lm import HuggingFaceModel

Kind = Literal["vllm", "openai", "no_echo", "text_only"]
"""Not to know what vLLM adds to OpenAI's protocol, moreover not to give log-probs of prompts, or to take only texts."""
PROTOCOL = {"model", "prompt", "max_tokens", "temperature", "echo", "logprobs", "stop"}


class CompletionsServer(ThreadingHTTPServer):
    """What tests set: `kind`; `names` of its models; `faults`, statuses to answer with before it works, 0 to hang up,
    with `retry_after`; `num_left`, answers until it hangs up on everything; `key`, which it wants; `wait_s`, before
    each answer; `page`, to show in place of any answer.

    What tests see: `asked`, the bodies of all requests; `headers` of the last one; `max_in_flight`.
    """

    daemon_threads = True

    def __init__(self, model: HuggingFaceModel, kind: Kind = "vllm", port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.model = model
        self.kind = kind
        self.names = ["toy"]
        self.faults: list[int] = []
        self.retry_after = ""
        self.num_left = 1 << 30
        self.key = ""
        self.page = ""
        self.wait_s = 0.0
        self.max_len = 128
        self.asked: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.num_in_flight = self.max_in_flight = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and answer."""
        codec = self.model.codec
        if body["model"] not in self.names:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if self.kind != "vllm" and (unknown := sorted(set(body) - PROTOCOL)):
            return 422, {"detail": f"Unexpected fields in the request: {unknown}"}
        ids = body["prompt"]
        if isinstance(ids, str):
            ids = [*codec.before, *codec.encode(ids)]
        elif self.kind == "text_only":
            return 400, {"detail": "prompt must be a string."}
        if max(ids) >= self.model.model.config.vocab_size:
            return 400, {"error": {"message": f"Token id {max(ids)} is out of vocabulary"}}
        if len(ids) >= self.max_len:
            return 400, {"error": {"message": f"This model's maximum context length is {self.max_len} tokens."}}
        new = self.model.generate([ids], body["max_tokens"])[0]
        choice: dict[str, Any] = {"text": codec.decode(new), "logprobs": None}
        if body.get("echo") and self.kind in ("vllm", "openai"):
            with torch.inference_mode():
                logits = self.model.model(input_ids=torch.tensor([ids + new])).logits[0].float()
            values = logits[:-1].log_softmax(-1).gather(1, torch.tensor(ids + new)[1:, None])[:, 0]
            choice["text"] = codec.decode(ids) + choice["text"]
            choice["logprobs"] = {"token_logprobs": [None, *(max(value, -9999.0) for value in values.tolist())]}
        if body.get("return_token_ids"):
            choice["token_ids"] = [*new, codec.eos_id] if len(new) < body["max_tokens"] else new
        return 200, {"choices": [choice], "usage": {"prompt_tokens": len(ids), "completion_tokens": len(new)}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CompletionsServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        models = [{"id": name, "max_model_len": self.server.max_len} for name in self.server.names]
        self.answer(200, {"data": models}) if self.path == "/v1/models" else self.answer(404, {})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked.append(body)
            server.headers = dict(self.headers)
            server.num_in_flight += 1
            server.max_in_flight = max(server.max_in_flight, server.num_in_flight)
        try:
            time.sleep(server.wait_s)
            with server.lock:
                self.work(body)
        finally:
            with server.lock:
                server.num_in_flight -= 1

    def work(self, body: dict[str, Any]) -> None:
        server = self.server
        server.num_left -= 1
        if server.num_left < 0:
            self.close_connection = True
        elif server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            self.answer(401, {"error": {"message": f"Incorrect key: {self.headers.get('Authorization')}"}})
        elif not server.faults:
            self.answer(*server.complete(body))
        elif fault := server.faults.pop(0):
            self.answer(fault, {"error": {"message": "not now"}}, {"Retry-After": server.retry_after})
        else:
            self.close_connection = True

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = (self.server.page or json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(model: HuggingFaceModel, kind: Kind = "vllm", port: int = 0) -> Iterator[CompletionsServer]:
    """The server, running."""
    server = CompletionsServer(model, kind, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
