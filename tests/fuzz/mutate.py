"""Damaged and hostile inputs for a reader, and the one thing that may come of them.

To add a reader, write `tests/fuzz/test_<what>.py`:

    from fuzz.mutate import fuzz, json_files, only_openflan_errors

    @fuzz(json_files({"a": 1}))                       # a valid content; each input is a damaged one
    def test_what(tmp_path, content):                 # the input comes last
        (tmp_path / "x.json").write_bytes(content)
        only_openflan_errors(read_what, tmp_path / "x.json")

`mutated_bytes` damages any file, `mutated` any Python value, `json_files`, `jsonl_files` and `yaml_files` write damaged
values as a file. A reader that takes milliseconds an input gives `share=0.1`. A run is the same each time and small;
`make fuzz` tries more, and others each time. All inputs are counted and told at the end of the run.

A run's `plan.jsonl` has no such test, because nothing reads it back: a repeated command makes the plan anew, and the
file is there for people. `plan.json`, from which a tuned model's card is written, is damaged in
`tests/study/test_damaged_runs.py`.
"""

from __future__ import annotations

import copy
import json
import math
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openflan.errors import OpenFlanError

EXAMPLES = int(os.environ.get("OPENFLAN_FUZZ_EXAMPLES", "400"))
TRIED: Counter[str] = Counter()
"""How many inputs each test has tried."""


def _deep(levels: int, as_list: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if as_list else {"a": value}
    return value


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**63) - 1, 2**64, 10**30, 10**4000),
    *(0.5, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf),
    *("", " ", "a", "0", "-1", "1e9", "nan", "²", "\ud83d", "\x00", "a\nb", "\r", "é", "日本語", "{{ a }}", "{% if %}"),
    *("../../x", "/", "/dev/zero", "~", "http://[", "a:b", "None", "true", "x" * 5000, "(a+)+$", "(", "[a", "\\"),
    *([], {}, [[]], [None], [1, "a", None], {"a": 1}, {"": ""}, {"a": {"a": {"a": []}}}),
    *(_deep(30, True), _deep(30, False), _deep(100, True), list(range(300))),
)

YAML_SCALARS = (
    *(
        "2020-13-45",
        "2020-01-01",
        "2001-12-14t25:59:43.10-05:00",
        "2001-12-14 21:59:43 +99:99",
        "190:20:30",
        "1:" * 3000,
    ),
    *("0x_", "0b_", "0o9", "089", "1_000", "1" * 5000, "-.inf", ".nan", "yes", "~", "=", "<<", "1e5", "1e", ".", "-"),
    *(
        "!!int x",
        "!!float x",
        "!!bool x",
        "!!timestamp x",
        "!!binary =",
        "!!set [a]",
        "!!omap x",
        "!!map x",
        "!!null x",
    ),
    *("!!map [a]", "!!pairs [a]", "!!python/name:os.system", "!function os.system", "!", "! x", "!<tag:a> x", "!a!b c"),
    *("&a [*a]", "&a 1", "*a", "{<<: {a: 1}}", "{<<: 1}", "? [a]", "{[a]: b}", "{{a: 1}: 2}", "|\n x", ">9", "'", '"'),
    *(
        '"\\ud800"',
        '"\\x00"',
        "[" * 2000,
        "{a: " * 2000,
        "[" * 100_000,
        "- " * 3000,
        "a: " * 300,
        "? " * 3000,
        "%YAML 9.9",
    ),
    *("[" * 800 + "]" * 800, "{" + ", ".join(f"k{i}: 1" for i in range(3000)) + "}", "---", "...", "@", "`", "\t", "#"),
)

JSON_TEXTS = (
    *("", " ", "null", "[]", "{}", '"a"', "1", "NaN", "[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, "-"),
    *("1" * 5000, '{"a": 1, "a": 2}', '{"a": "\\ud800"}', '"\\u0000"', "\ufeff{}", "{'a': 1}", "[1,]", "1e999", "{}{}"),
)


def mutated_bytes(content: bytes) -> st.SearchStrategy[bytes]:
    """`content` cut, with bytes flipped, zeroed, doubled, taken out or put in."""

    @st.composite
    def strategy(draw: st.DrawFn) -> bytes:
        damaged = bytearray(content)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, max(len(damaged) - 1, 0)))
            size = draw(st.sampled_from((1, 2, 8, 100, 1000)))
            how = draw(st.sampled_from(("cut", "flip", "zero", "double", "remove", "insert")))
            if how == "cut":
                del damaged[at:]
            elif how == "flip" and damaged:
                damaged[at] ^= 1 << draw(st.integers(0, 7))
            elif how == "zero":
                damaged[at : at + size] = bytes(len(damaged[at : at + size]))
            elif how == "double":
                damaged[at:at] = damaged[at : at + size]
            elif how == "remove":
                del damaged[at : at + size]
            else:
                damaged[at:at] = draw(st.binary(min_size=1, max_size=8))
        return bytes(damaged)

    return strategy()


def mutated(value: Any, odd: tuple[Any, ...] = ODD) -> st.SearchStrategy[Any]:
    """`value`, of dicts and lists, with one to three of its places replaced by an odd value, removed or added to."""

    @st.composite
    def strategy(draw: st.DrawFn) -> Any:
        changed = copy.deepcopy(value)
        for _ in range(draw(st.integers(1, 3))):
            places = list(_places(changed))
            new = copy.deepcopy(odd[draw(st.integers(0, len(odd) - 1))])
            if not places or draw(st.integers(0, 29)) == 0:
                return new
            inner, key = places[draw(st.integers(0, len(places) - 1))]
            how = draw(st.sampled_from(("replace", "replace", "replace", "wrap", "remove", "add")))
            if how == "replace":
                inner[key] = new
            elif how == "wrap":
                inner[key] = [inner[key]] if draw(st.booleans()) else {"a": inner[key]}
            elif how == "remove":
                del inner[key]
            elif isinstance(inner, dict):
                inner[draw(st.sampled_from(("", "a", "\ud83d", "x" * 5000, "0", "__class__")))] = new
            else:
                inner.append(new)
        return changed

    return strategy()


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every dict or list inside `value` with each of its keys."""
    if isinstance(value, dict | list) and depth < 20:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key], depth + 1)


def json_files(value: Any) -> st.SearchStrategy[bytes]:
    """A JSON file that should hold `value`: with odd values in it, with damaged bytes, or with something else."""
    whole = _json(value)
    return st.one_of(
        mutated(value).map(_json),
        mutated(value).map(_json),
        mutated_bytes(whole),
        st.sampled_from(JSON_TEXTS).map(_utf8),
    )


def jsonl_files(rows: list[Any]) -> st.SearchStrategy[bytes]:
    """The same for JSON Lines."""

    def lines(values: Any) -> bytes:
        return b"\n".join(map(_json, values if isinstance(values, list) else [values])) + b"\n"

    return st.one_of(mutated(rows).map(lines), mutated_bytes(lines(rows)), st.sampled_from(JSON_TEXTS).map(_utf8))


def yaml_files(value: Any) -> st.SearchStrategy[bytes]:
    """A YAML file that should hold `value`: its values replaced, too, by scalars that only YAML knows."""
    place = "a-place-to-fill"
    whole = yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode()
    scalars = st.sampled_from(YAML_SCALARS)
    with_scalar = st.tuples(mutated(value, (place,)), scalars).map(
        lambda both: yaml.safe_dump(both[0], sort_keys=False).replace(place, both[1]).encode()
    )
    alone = scalars.map(_utf8)
    return st.one_of(mutated(value).map(_json), with_scalar, with_scalar, mutated_bytes(whole), alone)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def fuzz(*inputs: st.SearchStrategy[Any], share: float = 1) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call the test with one input after the other; `share` of as many as other tests try."""
    longer = "OPENFLAN_FUZZ_EXAMPLES" in os.environ

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        checks = settings(
            max_examples=max(5, round(EXAMPLES * share)),
            derandomize=not longer,
            print_blob=longer,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),  # a fixture per test is enough, and so is a slow reader
        )
        decorated: Callable[..., None] = checks(given(*inputs)(test))
        return decorated

    return decorate


class TooLong(BaseException):
    """No `except Exception` on the way may take it for one of its own."""


def only_openflan_errors(call: Callable[..., Any], *args: Any, seconds: int = 10, megabytes: int = 1000) -> Any:
    """What `call` returns, or the OpenFlanError that it raised; any other exception passes, so that the test fails.

    So does more than `seconds`, and more memory than `megabytes` beside what the process has.
    """
    TRIED[os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]] += 1
    with _limits(seconds, megabytes):
        try:
            return call(*args)
        except OpenFlanError as exc:
            assert len(str(exc)) < 20_000, "an error that nobody can read"
            str(exc).encode(errors="strict")  # nothing that a terminal cannot print
            return exc


@contextmanager
def _limits(seconds: int, megabytes: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLong(f"more than {seconds} seconds")

    memory = resource.getrlimit(resource.RLIMIT_AS)
    statm = Path("/proc/self/statm")
    if statm.exists():
        taken = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + megabytes * 1_000_000, memory[1]))
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, memory)
