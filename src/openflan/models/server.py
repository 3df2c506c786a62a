"""Requests in JSON to a server over HTTP: several in flight, repeated after a pause, and errors told plainly."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from openflan.errors import ConfigError, ModelError, RunError

KEY = "OPENFLAN_API_KEY"
"""The environment variable with the server's key. Not OpenAI's own, which would go to whatever address is given."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be another one a little later."""
MAX_PAUSE_S = 60.0
CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The HTTP status; with 200 the object that came in JSON, else what the server has against the request."""

    status: int
    content: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """A server by its address, such as http://localhost:8000/v1.

    `pauses_s` lie between one attempt and the next. `timeout_s` is for one attempt; a long text is generated in it.
    """

    url: str
    pauses_s: tuple[float, ...] = (1, 2, 4, 8, 16)
    timeout_s: float = 300.0
    num_in_flight: int = 16
    passing: frozenset[int] = PASSING

    def __post_init__(self) -> None:
        where, do = "model", "Give an address such as http://localhost:8000/v1."
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL as exc:
            raise ConfigError(where, f"an address that cannot be read ({exc})", "one of a server", do) from exc
        if url.userinfo:  # not shown: what is shown is also stored
            raise ConfigError(where, "an address with a password in it", "one without", f"Put the key into {KEY}.")
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
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
        return asyncio.run(self._ask_all(path, bodies))

    async def _ask_all(self, path: str, bodies: Sequence[dict[str, Any] | None]) -> list[Reply]:
        key = _key()
        async with httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(self.timeout_s, connect=CONNECT_S, pool=None),
            limits=httpx2.Limits(max_connections=self.num_in_flight),
            verify=_certificates(),
        ) as client:
            # The first error ends all: `asyncio.run` cancels what is still under way.
            return await asyncio.gather(*(self._ask_one(client, path, body) for body in bodies))

    async def _ask_one(self, client: httpx2.AsyncClient, path: str, body: dict[str, Any] | None) -> Reply:
        url = f"{self.url.rstrip('/')}/{path}"
        problem = ""
        for pause_s in (*self.pauses_s, None):
            try:
                response = await client.request("GET" if body is None else "POST", url, json=body)
            except httpx2.TimeoutException as exc:
                problem = f"no answer in time ({type(exc).__name__})"
            except httpx2.RequestError as exc:
                problem = str(exc) or type(exc).__name__
            else:
                if response.status_code not in self.passing:
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

    def _read(self, response: httpx2.Response) -> Reply:
        status, told = response.status_code, _told(response)
        if status in (401, 403):
            found = f"a server that refuses {'the key in' if _key() else 'requests without a key in'} {KEY} ({told})"
            raise ModelError(self.url, found, "a key that it takes", f"Set the environment variable {KEY}.")
        if status != 200:
            return Reply(status, {}, told)
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            found = f"an answer that is not an object in JSON ({_short(response.text)})"
            do = "Check the address: it usually ends in /v1."
            raise ModelError(self.url, found, "an OpenAI-compatible server", do)
        return Reply(status, content)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than many a request."""
    return httpx2.create_ssl_context()


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):  # an HTTP library would quote it in its error
        raise ConfigError(KEY, "characters that no key has", "ASCII letters, digits and signs", "Set it again.")
    return key


def _told(response: httpx2.Response) -> str:
    """The status, and what the server says about it in any of the usual forms."""
    text = response.text
    try:
        content = json.loads(text)
        error = content.get("error", content)
        text = error if isinstance(error, str) else str(error.get("message") or error.get("detail") or text)
    except (ValueError, AttributeError):
        pass
    return f"HTTP {response.status_code}: {_short(text)}" if text.strip() else f"HTTP {response.status_code}"


def _short(text: str) -> str:
    key = _key()
    text = text.replace(key, "***") if key else text  # some servers quote a key that they refuse
    return " ".join(text.split())[:300].rstrip(".")


def _asked_pause(response: httpx2.Response) -> float:
    """Seconds that the server asks to wait, at most `MAX_PAUSE_S`; 0 when it asks for none."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), MAX_PAUSE_S) if asked.isdigit() else 0.0
