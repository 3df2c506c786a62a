"""Checks the environment variables that say which of several processes this is, and which proxies to use."""

from __future__ import annotations

import os
import urllib.request
from importlib.util import find_spec
from urllib.parse import urlsplit

from openflan.errors import ConfigError

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""In these torch's launchers say which of several processes this is."""
NUMBERS = RANK_VARIABLES[:4]
NEEDED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PROXIES = ("http", "https", "all")


def launched_as() -> tuple[int, int]:
    """The rank of this process and the number of processes; (0, 1) where no launcher started it as one of several.

    ConfigError, naming the variables, where they do not fit together: a launcher sets all of them.
    """
    given = {name: os.environ[name].strip() for name in RANK_VARIABLES if name in os.environ}
    if not any(name in given for name in NUMBERS):
        return 0, 1
    wrong = [name for name in (*NUMBERS, "MASTER_PORT") if not _is_number(given.get(name, "0"))]
    if wrong:
        raise _unlaunched(", ".join(f"{name}={given[name]}" for name in wrong), "whole numbers")
    rank, local = int(given.get("RANK", "0")), int(given.get("LOCAL_RANK", "0"))
    size = int(given.get("WORLD_SIZE", "0"))
    if set(given) & set(NUMBERS) == {"WORLD_SIZE"} and size == 1:
        return 0, 1
    missing = [name for name in NEEDED if not given.get(name)]
    alone = (rank, size) == (0, 1) and "LOCAL_RANK" not in given  # as clusters say of a job of one process
    if missing and not alone:
        set_ones = ", ".join(f"{name}={given[name]}" for name in NUMBERS if name in given)
        raise _unlaunched(f"{set_ones} without {', '.join(missing)}", "all of them, or none")
    if rank >= size or local >= int(given.get("LOCAL_WORLD_SIZE", size)):
        found = ", ".join(f"{name}={given[name]}" for name in NUMBERS if name in given)
        raise _unlaunched(found, "ranks below the number of processes")
    return rank, size


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _unlaunched(found: str, expected: str) -> ConfigError:
    do = f"Start it with torchrun or accelerate launch, or unset {', '.join(NUMBERS)}."
    return ConfigError("environment", found, expected, do)


def check_proxies() -> None:
    """ConfigError, naming the variable, for a proxy in the environment that httpx cannot use."""
    found = urllib.request.getproxies()
    if "*" in map(str.strip, found.get("no", "").split(",")):
        return
    for kind in PROXIES:
        address = found.get(kind) or ""
        upper = f"{kind}_PROXY".upper()
        where = upper if os.environ.get(upper) == address else upper.lower()
        if address:
            _check_proxy(where, address if "://" in address else f"http://{address}")


def _check_proxy(where: str, address: str) -> None:
    scheme = address.partition("://")[0].lower()  # no more of it is shown: it may hold a password
    expected = "http://, https://, socks5:// or socks5h:// with a host and a port"
    try:
        parts = urlsplit(address)
        usable = scheme in ("http", "https", "socks5", "socks5h") and parts.port != 0 and parts.hostname
    except ValueError:
        usable = None
    if not usable:
        raise ConfigError(where, f"a proxy's address that cannot be used ({scheme}://...)", expected, f"Unset {where}.")
    if scheme.startswith("socks5") and find_spec("socksio") is None:
        do = f"Install it (pip install socksio), or unset {where}."
        raise ConfigError(where, f"a proxy with {scheme}://", "the package socksio, which speaks with it", do)
