"""What a server may send, over real sockets: each ends with one clear error, in time and in bounded memory."""

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from openflan.errors import ConfigError, ModelError, OpenFlanError, RunError
from openflan.models.server import KEY, SECONDS, Reply, Server

pytestmark = pytest.mark.usefixtures("socket_enabled")

OK = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in (KEY, SECONDS):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """A server that reads one request of each connection and answers it so; it has a second for each."""
    listening = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with suppress(OSError):  # who asked has hung up
            read_request(connection)
            answer(connection)
            connection.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=serve, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        yield Server(url, pauses_s=(), seconds=0.6, passing=frozenset({500}))
    finally:
        for each in (listening, *connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def read_request(connection: socket.socket) -> None:
    """All of it: what is closed with something unread is reset."""
    with connection.makefile("rb") as file:
        length = 0
        for line in iter(file.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        file.read(length)


def body(content: bytes, headers: bytes = b"", status: bytes = OK) -> Answer:
    return lambda to: to.sendall(status + headers + b"Content-Length: %d\r\n\r\n" % len(content) + content)


def drip(first: bytes) -> Answer:
    """A byte every tenth of a second, for ever."""

    def answer(to: socket.socket) -> None:
        to.sendall(first)
        while True:
            to.sendall(b"x")
            time.sleep(0.1)

    return answer


def endless(first: bytes, part: bytes = b" " * 65536) -> Answer:
    def answer(to: socket.socket) -> None:
        to.sendall(first)
        while True:
            to.sendall(part)

    return answer


BOMB = gzip.compress(gzip.compress(b"[" * (1 << 28), 9), 9)  # 256 MB in a kilobyte
DEEP = b"[" * 100_000
TIME = "no whole answer within 0.6 seconds"
MUCH = "an answer of more than 4 MB"
NO_JSON = "an answer that is not an object in JSON"

CASES: dict[str, tuple[Answer, str]] = {
    "silence": (lambda to: time.sleep(3), TIME),
    "a body by the byte": (drip(OK + b"Content-Length: 100000\r\n\r\n"), TIME),
    "headers by the byte": (drip(OK + b"X: "), TIME),
    "hundreds of interim answers": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TIME),
    "a body without end": (endless(OK + b"\r\n"), MUCH),
    "chunks without end": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b" " * 4096 + b"\r\n"),
        MUCH,
    ),
    "headers without end": (endless(OK + b"X: ", b"x" * 65536), "no answer: "),
    "gzip in gzip": (body(BOMB, b"Content-Encoding: gzip, gzip\r\n"), MUCH),
    "no gzip": (body(b"{}", b"Content-Encoding: gzip\r\n"), "no answer: "),
    "half a body": (lambda to: to.sendall(OK + b"Content-Length: 10\r\n\r\n{"), "no answer: "),
    "nothing": (lambda to: None, "no answer: "),
    "no HTTP": (lambda to: to.sendall(b"\xff\xfe\0\r\n\r\n"), "no answer: "),
    "deep": (body(DEEP), NO_JSON),
    "deep, refused": (body(b'{"error": ' + DEEP, status=b"HTTP/1.1 500 No\r\n"), "no answer: HTTP 500: {"),
    "a long number": (body(b'{"a": ' + b"9" * 5000 + b"}"), NO_JSON),
    "no JSON": (body(b"<html>"), NO_JSON),
    "a list": (body(b"[]"), NO_JSON),
    "control characters": (body(b"\x1b[2Jgone"), r"an object in JSON ([2Jgone)"),
    **{
        f"charset {name}": (body(b"\xff{", b"Content-Type: text/plain; charset=%s\r\n" % name.encode()), NO_JSON)
        for name in ("hex", "idna", "undefined", "zip", "punycode", "utf-7", "none", "unicode_escape")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error_in_time(case):
    answer, found = CASES[case]
    began = time.monotonic()
    with serving(answer) as server, pytest.raises((ModelError, RunError)) as caught:
        server.post("completions", [{"prompt": [5, 6], "max_tokens": 1}])
    assert found in caught.value.found
    assert caught.value.where == server.url and "\x1b" not in str(caught.value)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("case", ["silence", "deep", "gzip in gzip"])
def test_a_list_of_models_that_never_comes(case):
    with serving(CASES[case][0]) as server, pytest.raises(OpenFlanError):
        server.get("models")


def test_a_long_answer_to_a_long_prompt_is_read():
    with serving(body(b'{"text": "' + b"x" * (5 << 20) + b'"}')) as server:
        with pytest.raises(ModelError, match=MUCH):
            server.post("completions", [{"prompt": [5] * 10}])
        [reply] = server.post("completions", [{"prompt": [5] * 1000, "max_tokens": 100}])
    assert len(reply.content["text"]) == 5 << 20


def test_who_waits_for_an_answer_is_told(capsys):
    pauses_s = iter((0.0, 0.3, 0.3, 0.0))

    def late(to: socket.socket) -> None:
        time.sleep(next(pauses_s))
        to.sendall(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")

    with serving(late) as server:
        asked = Server(server.url, silences_s=[0.1, 0.2, 5.0], num_in_flight=1)
        assert asked.post("completions", [{}]) == [Reply(200, {})]
        assert capsys.readouterr().err == ""
        asked.post("completions", [{}])
        waits = [f"{asked.url}: no answer for {s} seconds; a request may take 600 ({SECONDS})\n" for s in (0.1, 0.2)]
        assert capsys.readouterr().err == "".join(waits)
        asked.post("completions", [{}] * 2)  # each is told once
        assert capsys.readouterr().err == ""


def test_a_slow_answer_is_waited_for_as_long_as_is_set(monkeypatch):
    def slowly(to: socket.socket) -> None:
        to.sendall(OK)
        time.sleep(0.4)
        to.sendall(b"Content-Length: 2\r\n\r\n{}")

    with serving(slowly) as server:
        assert server.post("completions", [{}] * 3) == [Reply(200, {})] * 3
        monkeypatch.setenv(SECONDS, "0.2")
        with pytest.raises(RunError, match=r"within 0\.2 seconds; .* set OPENFLAN_SERVER_SECONDS"):
            Server(server.url).post("completions", [{}])
    monkeypatch.delenv(SECONDS)
    assert Server("http://localhost").seconds == 600
    assert Server("http://localhost").silences_s == [10, 20, 40, 80, 160, 320]
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(SECONDS, wrong)
        with pytest.raises(ConfigError, match=f"^{SECONDS}: found '{wrong}'; expected a number of seconds"):
            Server("http://localhost")


@pytest.mark.parametrize(
    ("asked", "expected"), [("7", 7), ("²", 1), ("9" * 5000, 60), ("-1", 1), ("Wed, 21 Oct 2099 07:28:00 GMT", 1)]
)
def test_the_pause_that_a_server_asks_for(monkeypatch, asked, expected):
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    answer = body(b"", b"Connection: close\r\nRetry-After: %s\r\n" % asked.encode("latin-1"), b"HTTP/1.1 500 No\r\n")
    with serving(answer) as server, pytest.raises(RunError, match="no answer after 2 attempts: HTTP 500"):
        Server(server.url, pauses_s=(1,)).get("models")
    assert pauses == [expected]


@pytest.mark.parametrize(
    "url", ["http://localhost:99999/v1", "http://localhost:0/v1", "http://\0/", "localhost:80", ""]
)
def test_an_address_that_is_none(url):
    with pytest.raises(ConfigError, match=r"^model: found (the|an) address"):
        Server(url)


def test_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks://proxy:1080")
    with serving(body(b"{}")) as server:  # on this machine: no proxy leads here
        assert server.get("models") == Reply(200, {})
    with pytest.raises(ConfigError, match=r"^ALL_PROXY: found a proxy's address that cannot be used"):
        Server("http://far.example/v1").get("models")


def test_inside_a_running_event_loop():
    async def cell(server: Server) -> Reply:
        return server.get("models")

    with serving(body(b"{}")) as server:
        assert asyncio.run(cell(server)) == Reply(200, {})
