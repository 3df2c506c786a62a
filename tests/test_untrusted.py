import json
import math
import os
import time

import pytest

from openflan.untrusted import json_objects, json_value, read_regular, yaml_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("[~, null, '']", [None, None, ""]),
        ("[yes, No, TRUE, off, y, 'yes']", [True, False, True, False, "y", "yes"]),
        ("[0, -3, +7, 30_000]", [0, -3, 7, 30000]),
        ("[1.5, -.inf, 1e5, 1.0e-05, .5, 1_0.5]", [1.5, -math.inf, "1e5", 1e-5, 0.5, 10.5]),
        ("[2020-01-01, 2020-13-45, 12:30:45, 190:20]", ["2020-01-01", "2020-13-45", "12:30:45", "190:20"]),
        ("[0x10, 010, 0b11, 0x_, 089, =]", ["0x10", "010", "0b11", "0x_", "089", "="]),
        ("a: |\n  1\nb: >-\n  2\n", {"a": "1\n", "b": "2"}),
        ("{0: a, yes: b, null: c}", {0: "a", True: "b", None: "c"}),
    ],
)
def test_yaml_is_strings_numbers_booleans_and_null(text, value):
    assert yaml_value(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!int x", "the tag tag:yaml.org,2002:int, line 1"),
        ("a: 1\nb: !!map [a]", "the tag tag:yaml.org,2002:map, line 2"),
        ("a: ! x", "the tag !, line 1"),
        ("a: {<<: {b: 1}}", r"a merge key \(<<\), line 1"),
        ("a: 1\n---\nb: 2", r"a second document \(---\), line 2"),
        ("? [a]\n: b", "a key that is a list or a mapping, line 1"),
        ("a: " + "1" * 5000, "a number of 5,000 digits, line 1"),
        ("[" * 101 + "]" * 101, "more than 100 levels"),
        ("[" * 100_000, "more than 100 levels"),
        ("- " * 100_000, "more than 100 levels"),
        ("{a: " * 100_000, "more than 100 levels"),
        ("? " * 100_000, "more than 100 levels"),
        ("[" + "a," * 300_000 + "]", "more than 200,000 values"),
        ("{" + ", ".join(f"k{i}: 1" for i in range(20_000)) + "}", "more than 5,000 keys"),
        ("".join(f"%TAG !a{i}! b\n" for i in range(60_000)) + "--- a", "more than 100 directives"),
        ("a: \ud800", "surrogates not allowed"),
        ('a: "\\ud800"', "invalid Unicode"),
    ],
    ids=lambda value: value[:20],
)
def test_yaml_beyond_the_limits_is_refused_at_once(text, message):
    began = time.monotonic()
    with pytest.raises(ValueError, match=message):
        yaml_value(text)
    assert time.monotonic() - began < 5


def test_keys_that_collide_end_in_time():
    keys = dict.fromkeys((i * (2**61 - 1) for i in range(5_000)), 1)  # all have the hash 0
    began = time.monotonic()
    assert yaml_value("{" + ", ".join(f"{key}: 1" for key in keys) + "}") == keys
    assert time.monotonic() - began < 5


def test_a_known_tag_makes_its_value():
    tags = {"!upper": str.upper, "!size": len}
    assert yaml_value("[!upper a, !size [1, 2], !size {a: 1}]", tags) == ["A", 2, 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true, "\\ud83d\\ude00"]}', {"a": [1, 2.5, None, True, "😀"]}),
        ('"' + "1" * 5000 + '"', "1" * 5000),
        ("[" * 100 + "]" * 100, None),
        ('["' + "[" * 200 + '"]', ["[" * 200]),
        ("[-Infinity]", [-math.inf]),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_json_comes_back(text, value):
    assert value is None or json_value(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 101 + "]" * 101, "more than 100 levels"),
        ("[" * 100_000, "more than 100 levels"),
        ('{"a":' * 100_000, "more than 100 levels"),
        ("1" * 5000, "a number of 5,000 digits"),
        ("-" + "1" * 101, "a number of 102 digits"),
        ('{"a": "\\ud83d"}', r"half of a surrogate pair \('\\ud83d'\)"),
        ('{"\\udc00": 1}', "half of a surrogate pair"),
        ("{'a': 1}", "property name"),
        ("", "Expecting value"),
    ],
    ids=lambda value: value[:20],
)
def test_json_beyond_the_limits_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        json_value(text)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "good").write_bytes(b"\xef\xbb\xbf\xc3\xa9")
    assert read_regular(tmp_path / "good", 5) == "é"
    for name, message in (("fifo", "a pipe"), ("zero", "a device"), (".", "a folder"), ("a\0b", "null byte")):
        with pytest.raises(ValueError, match=message):
            read_regular(tmp_path / name, 100)
    for name, message in (("loop", "symbolic links"), ("x" * 5000, "too long"), ("absent", "No such file")):
        with pytest.raises(OSError, match=message):
            read_regular(tmp_path / name, 100)
    with pytest.raises(ValueError, match="5 bytes where at most 4 can be read"):
        read_regular(tmp_path / "good", 4)


def test_an_alias_of_a_small_mapping_in_a_file_with_tags():
    assert yaml_value("{a: &x {b: [1]}, c: *x}", {}) == {"a": {"b": [1]}, "c": {"b": [1]}}


@pytest.mark.parametrize(
    "text",
    [
        "{a: &x [1], c: *x}",
        "{a: &x 1, c: *x}",
        "{c: *x, a: &x {b: 1}}",
        "a: &x {b: *x}",
        "a: &x {b: 1}\nc: &y {d: *x}\ne: *y",
        "a: &x {b: 1}\nc: &x [2]\nd: *x",
        "a: &x {b: 1}\nc: &x 2\nd: *x",
        f"a: &x {{b: [{'1, ' * 100}]}}\nc: *x",
    ],
)
def test_any_other_alias_is_refused(text):
    with pytest.raises(ValueError, match="alias"):
        yaml_value(text, {})


@pytest.mark.parametrize("keys_once", [False, True])
def test_json_read_quickly_is_what_python_reads(keys_once: bool) -> None:
    text = ' {"a": [-0, -0.0, 1e400, 5e-324, 0.1, true, null], "\\u0062\\ud83d\\ude00": {"": "\\n\\"k\\":"}} \n'
    assert repr(json_value(text, keys_once)) == repr(json.loads(text))


@pytest.mark.parametrize("keys_once", [False, True])
def test_what_follows_a_json_value_is_told_with_its_place(keys_once: bool) -> None:
    with pytest.raises(ValueError, match=r"Extra data: line 2 column 2 \(char 4\)"):
        json_value(" 1\n ]", keys_once)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" : 1, "\\u0061"\n: ":"}',
        '{"a": {"b": 1}, "a": 2}',
        '{"a": 1, "b": {"c": 1, "c": 1}}',
        '[{"a": "\\":", "a": 1}]',
    ],
)
def test_a_key_that_stands_twice_is_found_wherever_it_is(text: str) -> None:
    json_value(text)
    with pytest.raises(ValueError, match=r"the key '[ac]' twice"):
        json_value(text, keys_once=True)


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1, "a" : 2}',
        '{"a": 1, "a"\t\r : 2}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": [{"b": 1}, {"b": 1, "b": 2}]}',
        '{"a\\\\": 1, "a\\\\": 2}',
        '{"a\\"": 1, "a\\"": 2}',
        '{"a": "x\\": y", "a": 2}',
        '{"a": "\\u0022:", "a": 2}',
        '{"a": ' + "1" * 101 + "}",
        '{"a": "' + "x" * 17 + '", "b": ' + "1" * 101 + "}",
        '{"a": ' + "[" * 100 + "]" * 100 + "}",
        '{"a": ' * 101 + "1" + "}" * 101,
        '{"a": "\\ud83d"}',
        '{"a": "\ud83d"}',
        "[1]",
        "1",
        "",
        '{"a": 1',
        '{"a": 1} {"a": 1}',
        '{"a": 1},',
        '\ufeff{"a": 1}',
    ],
    ids=lambda line: ascii(line)[:20],
)
def test_one_look_passes_no_line_that_is_to_be_refused(line):
    whole = '{"a": 1, "b": {"c": [2, {"a": "x: y", "b": "\\": "}]}}'
    for lines in ([line], [whole, line], [line, whole, whole]):
        assert json_objects("\n".join(lines).encode(errors="surrogatepass")) is None
    assert json_objects(f"[{whole}, {line}]".encode(errors="surrogatepass"), is_list=True) is None


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "b": "x"}',
        '{"a" : 1 , "b"\t:"x"}\r',
        '{"a": "he said \\"x\\": y", "b": "Sonne : \\\\"}',
        '{"a\\\\": {"a": [{"a": 1}, {"a": 1}]}, "b": [[1], []]}',
        '{"a": ' + "1" * 70 + ', "b": NaN, "c": "\\ud83d\\ude00"}',
        '{"a": ' + "[" * 99 + "]" * 99 + "}",
        '{"a": "' + "[{" * 200 + '"}',
    ],
    ids=lambda line: line[:20],
)
def test_one_look_gives_what_is_read_one_by_one(line):
    values = [json_value(line, keys_once=True)] * 3
    assert repr(json_objects("\n".join([line] * 3).encode())) == repr(values)
    assert repr(json_objects(f"[{line}, {line},{line}]".encode(), is_list=True)) == repr(values)


def test_a_key_that_stands_twice_may_be_allowed():
    assert json_objects(b'{"a": 1, "a": 2}\n{"a": 3}', keys_once=False) == [{"a": 2}, {"a": 3}]
