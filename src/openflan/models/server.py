"""Requests in JSON to a server over HTTP: several in flight, repeated after a pause, and errors told plainly."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import ssl
import sys
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2

from openflan.environment import check_proxies
from openflan.errors import ConfigError, ModelError, RunError

KEY = "OPENFLAN_API_KEY"
"""The environment variable with the server's key. Not OpenAI's own, which would go to whatever address is given."""
SECONDS = "OPENFLAN_SERVER_SECONDS"
"""The environment variable that says how long one request may take, its repetitions included."""
DEFAULT_SECONDS = 600.0
"""A text comes all at once: 1,024 tokens at two a second, as a large model on a CPU writes them, take nearly as long,
and some servers read their weights when the first prompt comes."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be another one a little later."""
MAX_PAUSE_S = 60.0
SILENCES_S = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
CONNECT_S = 10.0
MAX_BYTES = 4 << 20
"""Of an answer, unpacked; and `BYTES_PER_TOKEN` more for each token that is sent or asked for."""
BYTES_PER_TOKEN = 1024
LOOPBACK = ("localhost", "::1")


@dataclass(frozen=True, slots=True)
class Reply:
    """The HTTP status; with 200 the object that came in JSON, else what the server has against the request."""

    status: int
    content: dict[str, Any]
    problem: str = ""


class _Response:
    """What came of one attempt, its body whole and as text."""

    def __init__(self, status: int, headers: httpx2.Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.text = body.decode(errors="replace")  # JSON is UTF-8, whatever a header says


@dataclass(frozen=True, slots=True)
class Server:
    """A server by its address, such as http://localhost:8000/v1.

    `pauses_s` lie between one attempt and the next. `seconds` are for one request with all its attempts; a long text is
    generated in them. By default they are those of the environment variable OPENFLAN_SERVER_SECONDS, or 600.
    """

    url: str
    pauses_s: tuple[float, ...] = (1, 2, 4, 8, 16)
    seconds: float = field(default_factory=lambda: _seconds())
    num_in_flight: int = 16
    passing: frozenset[int] = PASSING
    silences_s: list[float] = field(default_factory=lambda: list(SILENCES_S), compare=False)
    """After how long without an answer it is told that one is waited for. Each is told once."""

    def __post_init__(self) -> None:
        where, do = "model", "Give an address such as http://localhost:8000/v1."
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL as exc:
            raise ConfigError(where, f"an address that cannot be read ({exc})", "one of a server", do) from exc
        if url.userinfo:  # not shown: what is shown is also stored
            raise ConfigError(where, "an address with a password in it", "one without", f"Put the key into {KEY}.")
        usable = url.scheme in ("http", "https") and url.host and not url.query and not url.fragment
        if not usable or not 0 < (80 if url.port is None else url.port) < 1 << 16:
            raise ConfigError(where, f"the address {self.url}", "http:// or https://, a host and a path", do)

    def get(self, path: str) -> Reply:
        """One resource below the address."""
        return self._ask(path, [None])[0]

    def post(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[Reply]:
        """The replies to several requests, in their order.

        ModelError: the server wants a key, or answers something that is not JSON. RunError: after the last attempt it
        still does not answer, or answers with one of `passing`.
        """
        return self._ask(path, bodies)

    def _ask(self, path: str, bodies: Sequence[dict[str, Any] | None]) -> list[Reply]:
        return _run(self._ask_all(path, bodies))

    async def _ask_all(self, path: str, bodies: Sequence[dict[str, Any] | None]) -> list[Reply]:
        at_once = asyncio.Semaphore(self.num_in_flight)  # a request's time begins when its turn comes
        async with self._client() as client:
            replies = [asyncio.ensure_future(self._in_time(client, at_once, path, body)) for body in bodies]
            telling = asyncio.ensure_future(self._tell_silence(replies))
            try:
                return await asyncio.gather(*replies)
            finally:  # the first error ends all: `asyncio.run` cancels what is still under way
                telling.cancel()

    async def _tell_silence(self, replies: Sequence[asyncio.Future[Reply]]) -> None:
        """Whoever waits for an answer learns for what, and how long at most."""
        waiting: set[asyncio.Future[Reply]] = set(replies)
        last = time.monotonic()
        while waiting and self.silences_s:
            left_s = last + self.silences_s[0] - time.monotonic()
            came, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if came:
                last = time.monotonic()
            else:
                most = f"a request may take {self.seconds:g} ({SECONDS})"
                print(f"{self.url}: no answer for {self.silences_s.pop(0):g} seconds; {most}", file=sys.stderr)

    def _client(self) -> httpx2.AsyncClient:
        host = httpx2.URL(self.url).host
        is_here = host in LOOPBACK or host.startswith("127.")  # a proxy elsewhere would ask itself
        if not is_here:
            check_proxies()
        key = _key()
        return httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            limits=httpx2.Limits(max_connections=self.num_in_flight),
            verify=_certificates(),
            trust_env=not is_here,
        )

    async def _in_time(
        self, client: httpx2.AsyncClient, at_once: asyncio.Semaphore, path: str, body: dict[str, Any] | None
    ) -> Reply:
        async with at_once:
            try:
                async with asyncio.timeout(self.seconds):
                    return await self._ask_one(client, path, body)
            except TimeoutError as exc:
                do = f"If it only needs longer, set {SECONDS}; repeat the command: predictions made so far are kept."
                found = f"no whole answer within {self.seconds:g} seconds"
                raise RunError(self.url, found, "a server that answers", do) from exc

    async def _ask_one(self, client: httpx2.AsyncClient, path: str, body: dict[str, Any] | None) -> Reply:
        url = f"{self.url.rstrip('/')}/{path}"
        problem = ""
        for pause_s in (*self.pauses_s, None):
            try:
                response = await self._attempt(client, url, body)
            except httpx2.TimeoutException as exc:
                problem = f"no answer in time ({type(exc).__name__})"
            except httpx2.RequestError as exc:
                problem = _short(str(exc)) or type(exc).__name__
            else:
                if response.status not in self.passing:
                    return self._read(response)
                problem = _told(response)
                if pause_s is not None:
                    pause_s = max(pause_s, _asked_pause(response))
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        num = len(self.pauses_s) + 1
        found = f"no answer after {num} attempts: {problem}" if num > 1 else f"no answer: {problem}"
        do = "Start it again, or correct the address, and repeat the command: predictions made so far are kept."
        raise RunError(self.url, found, "a server that answers", do)

    async def _attempt(self, client: httpx2.AsyncClient, url: str, body: dict[str, Any] | None) -> _Response:
        """One attempt; ModelError as soon as its answer is longer than any that was asked for."""
        most = MAX_BYTES
        if body is not None:
            most += BYTES_PER_TOKEN * (len(body.get("prompt", ())) + int(body.get("max_tokens", 0)))
        content = bytearray()
        async with client.stream("GET" if body is None else "POST", url, json=body) as response:
            async for part in response.aiter_bytes():  # unpacked, piece by piece
                content += part
                if len(content) > most:
                    found = f"an answer of more than {most / 2**20:.0f} MB"
                    raise ModelError(self.url, found, "an OpenAI-compatible server", "Look at the server.")
            return _Response(response.status_code, response.headers, bytes(content))

    def _read(self, response: _Response) -> Reply:
        status, told = response.status, _told(response)
        if status in (401, 403):
            found = f"a server that refuses {'the key in' if _key() else 'requests without a key in'} {KEY} ({told})"
            raise ModelError(self.url, found, "a key that it takes", f"Set the environment variable {KEY}.")
        if status != 200:
            return Reply(status, {}, told)
        content = _parsed(response.text)
        if not isinstance(content, dict):
            found = f"an answer that is not an object in JSON ({_short(response.text)})"
            do = "Check the address: it usually ends in /v1."
            raise ModelError(self.url, found, "an OpenAI-compatible server", do)
        return Reply(status, content)


def _run(work: Coroutine[Any, Any, list[Reply]]) -> list[Reply]:
    """Its result, also where an event loop is running already, as in a notebook: then in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(asyncio.run, work).result()
    finally:
        pool.shutdown(wait=False)  # a notebook that is interrupted does not wait for it


def _parsed(text: str) -> Any:
    """What stands in JSON, its halves of surrogate pairs, which no text may hold, replaced; None where it is none."""
    try:
        content = json.loads(text)
        if "\\u" in text:
            content = json.loads(json.dumps(content, ensure_ascii=False).encode(errors="replace"))
        return content
    except (ValueError, RecursionError):
        return None


def check_seconds(given: str, where: str) -> float:
    """How long a request may take, as somebody wrote it `where`. ConfigError for anything but a number above 0."""
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(where, repr(given), "a number of seconds above 0", "Set it again, or leave it out.")
    return seconds


def _seconds() -> float:
    return check_seconds(os.environ.get(SECONDS) or str(DEFAULT_SECONDS), SECONDS)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than many a request."""
    return httpx2.create_ssl_context()


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):  # an HTTP library would quote it in its error
        raise ConfigError(KEY, "characters that no key has", "ASCII letters, digits and signs", "Set it again.")
    return key


def _told(response: _Response) -> str:
    """The status, and what the server says about it in any of the usual forms."""
    text, content = response.text, _parsed(response.text)
    error = content.get("error", content) if isinstance(content, dict) else content
    told = [error.get(name) for name in ("message", "detail")] if isinstance(error, dict) else [error]
    text = next((each for each in told if isinstance(each, str) and each), text)
    return f"HTTP {response.status}: {_short(text)}" if text.strip() else f"HTTP {response.status}"


def _short(text: str) -> str:
    key = _key()
    text = text.replace(key, "***") if key else text  # some servers quote a key that they refuse
    text = "".join(char if char.isprintable() else " " for char in text[:3000])
    return " ".join(text.split())[:300].rstrip(".")


def _asked_pause(response: _Response) -> float:
    """Seconds that the server asks to wait, at most `MAX_PAUSE_S`; 0 when it asks for none."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), MAX_PAUSE_S) if asked.isascii() and asked.isdecimal() else 0.0
