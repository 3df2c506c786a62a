import pytest

from openflan.environment import RANK_VARIABLES, check_proxies, launched_as
from openflan.errors import ConfigError

MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
PROXY_VARIABLES = [
    each for name in ("HTTP", "HTTPS", "ALL", "NO") for each in (f"{name}_PROXY", f"{name}_proxy".lower())
]


@pytest.fixture
def setenv(monkeypatch):
    """Of these variables only those that a test gives are set."""
    for name in (*RANK_VARIABLES, *PROXY_VARIABLES):
        monkeypatch.delenv(name, raising=False)

    def set_all(**given: str) -> None:
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (0, 1)),
        (MEETING, (0, 1)),
        ({"WORLD_SIZE": "1"}, (0, 1)),
        ({"WORLD_SIZE": "1", "RANK": "0"}, (0, 1)),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", **MEETING}, (0, 1)),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", **MEETING}, (3, 4)),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", **MEETING}, (3, 4)),
    ],
)
def test_what_launchers_say(setenv, given, expected):
    setenv(**given)
    assert launched_as() == expected


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"RANK": "3"}, "RANK=3 without LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
        ({"RANK": "0"}, "RANK=0 without LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE="),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two"),
        ({"WORLD_SIZE": "²"}, "WORLD_SIZE=²"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE=9"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 without"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK=-1"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0 without RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "1", "RANK": "1"}, "RANK=1, WORLD_SIZE=1 without LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}, "without MASTER_ADDR, MASTER_PORT"),
        ({"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "2", **MEETING}, "RANK=2, LOCAL_RANK=0, WORLD_SIZE=2"),
        ({"RANK": "0", "LOCAL_RANK": "7", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", **MEETING}, "LOCAL_RANK=7"),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", **MEETING, "MASTER_PORT": "x"}, "MASTER_PORT=x"),
    ],
)
def test_what_no_launcher_says(setenv, given, found):
    setenv(**given)
    with pytest.raises(ConfigError, match=r"^environment: .* Start it with torchrun .* or unset RANK, LOCAL_RANK") as e:
        launched_as()
    assert found in e.value.found


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"ALL_PROXY": ""},
        {"HTTP_PROXY": "proxy.example:8080", "https_proxy": "http://user:word@proxy.example"},
        {"ALL_PROXY": "socks://nobody", "NO_PROXY": "localhost, *"},
    ],
)
def test_proxies_that_can_be_used(setenv, given):
    setenv(**given)
    check_proxies()


@pytest.mark.parametrize(
    ("given", "where", "found"),
    [
        ({"ALL_PROXY": "socks://host:1080"}, "ALL_PROXY", "cannot be used (socks://...)"),
        ({"all_proxy": "socks5://host:1080"}, "all_proxy", "a proxy with socks5://"),
        ({"HTTPS_PROXY": "socks5h://user:secret@host:1080"}, "HTTPS_PROXY", "a proxy with socks5h://"),
        ({"HTTP_PROXY": "http://host:abc"}, "HTTP_PROXY", "cannot be used (http://...)"),
        ({"HTTP_PROXY": "http://host:99999"}, "HTTP_PROXY", "cannot be used (http://...)"),
        ({"HTTP_PROXY": "http://[::1"}, "HTTP_PROXY", "cannot be used (http://...)"),
        ({"HTTP_PROXY": "http://"}, "HTTP_PROXY", "cannot be used (http://...)"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(setenv, monkeypatch, given, where, found):
    monkeypatch.setattr("openflan.environment.find_spec", lambda package: None)
    setenv(**given)
    with pytest.raises(ConfigError) as caught:
        check_proxies()
    assert caught.value.where == where and found in caught.value.found
    assert "secret" not in str(caught.value)
