"""`openflan preview`: the ids it shows are the ids that training sees."""

import json
import re
from pathlib import Path

import pytest

from openflan.models.tokenizer import codec_of, load_tokenizer
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import load_catalog
from openflan.tokens.encode import Lengths, fit, training_ids

CARD = """\
family: mood
cluster: sentiment
source: {splits: {train: train, test: validation}}
fields: {text: text}
answer: {kind: choice, options: [sad, glad], gold: label}
metrics: [accuracy]
licence: CC0-1.0
samples:
  - {text: "<script>alert(1)</script> & \\e[2J rain", label: 0}
  - {text: "All is well.", label: 1}
templates:
  - {id: how, input: "{{ text }}\\n\\nWhich mood?\\n\\n{{ options_block }}"}
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "mood.yaml"
    path.write_text(CARD)
    return path


def shown_ids(out: str) -> tuple[list[int], list[int]]:
    """The ids of the prompt and of the supervised rest, as they were printed, with their pieces taken away."""
    lines = [line.partition(": ")[2] for line in out.splitlines() if re.match(r"\d+ ids ", line)]
    assert len(lines) == 2
    return tuple([int(n) for n in re.findall(r' (\d+) "(?:[^"\\]|\\.)*"', " " + line)] for line in lines)


def test_the_ids_are_those_that_training_sees(call):
    ended = call("preview", "rte", "--template", "must-it-hold", "--model", "base")
    assert (ended.code, ended.err) == (0, "")
    task = load_catalog().task("rte")
    example = load_examples(task, "samples")[0][0]
    codec = codec_of(load_tokenizer("base"), Path("base"))
    template = next(t for t in task.templates if t.id == "must-it-hold")
    fitted = fit(example, task, template, codec, Lengths())
    assert fitted is not None
    ids, num_supervised = training_ids(fitted, codec)
    before, after = shown_ids(ended.out)
    assert [*before, *after] == list(ids)
    assert len(after) == num_supervised == 2
    assert f"{len(before)} ids of the prompt: " in ended.out and "\n2 ids supervised: " in ended.out
    assert ended.out.rstrip().endswith(' 0 "<|end|>"')


def test_exemplars_come_first_and_are_never_the_row_itself(call):
    ended = call("preview", "rte", "--template", "must-it-hold", "--shots", "1", "--rows", "2")
    first, second = ended.out.split("--- rte/samples/")[1:]
    assert first.count("Must this be true as well?") == second.count("Must this be true as well?") == 2
    question = first.rpartition("Suppose this is true:")[2]
    assert question not in second.rpartition("Suppose this is true:")[2]
    assert question.partition("\n\n")[0] not in first.partition("\n\nSuppose")[0]
    out = call("preview", "rte", "--template", "must-it-hold", "--shots", "99").out
    assert re.search(r"note: \d of 99 exemplars", out)


def test_styles(call, card):
    assert "mood/samples/1" in call("preview", card, "--rows", "2").out
    out = call("preview", card, "--rows", "2", "--style", "dataset_name").out
    assert "\n[mood] All is well.\n>>> glad\n" in out and "Which mood?" not in out
    out = call("preview", card, "--rows", "2", "--style", "no_template").out
    assert "\nAll is well.\n>>> glad\n" in out
    assert call("preview", "rte", "--style", "no_template").out.count(">>> ") == 1  # all wordings are one there


def test_the_completion_is_shown_when_it_is_asked_for(call):
    assert call("preview", "rte", "--template", "completion").out.count("\n>>> ") == 1
    assert "· completion" not in call("preview", "rte").out


def test_a_page_is_whole_and_its_text_escaped(call, card, tmp_path):
    page = tmp_path / "page.html"
    ended = call("preview", card, "--model", "base", "--html", page)
    assert (ended.code, ended.out) == (0, f"{page}\n")
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in text
    assert not re.search(r"(src|href)=", text)
    supervised = re.findall(r'<b class="supervised">(.*?)<small>(\d+)</small></b>', text)
    plain = call("preview", card, "--model", "base").out
    before, after = shown_ids(plain)
    assert [int(n) for _, n in supervised] == after
    assert len(re.findall(r"<small>\d+</small>", text)) == len(before) + len(after)
    assert [piece for piece, _ in supervised][-1] == "&lt;|end|&gt;"


def test_a_dataset_cannot_steer_the_terminal(call, card):
    out = call("preview", card, "--model", "base").out
    assert "\x1b" not in out
    assert "\\x1b[2J rain" in out


def test_what_training_drops_is_said(call, card):
    card.write_text(card.read_text().replace("glad]", "gl" + "ad" * 600 + "]"))
    out = call("preview", card, "--model", "base").out
    assert "note: too long: training drops it" in out and "ids supervised" not in out


def test_what_training_cuts_is_said(call, card):
    card.write_text(card.read_text().replace("All is well.", "All is well. " * 600))
    out = call("preview", card, "--model", "base", "--rows", "2").out
    assert re.search(r"note: too long: \d{3,} words from the middle of a field are left out", out)
    assert "... " in out.split("mood/samples/1")[1]


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--style", "instructions"], ["--style: found 'instructions'", "Did you mean instruction?"]),
        (["--model", "nowhere"], ["nowhere: found no such folder", "`base` is built in"]),
        (["--html", "/proc/nowhere/page.html"], ["/proc/nowhere/page.html"]),
    ],
)
def test_what_is_wrong_is_told(call, args, parts):
    ended = call("preview", "rte", *args)
    assert ended.code == 2 and ended.err.count("\n") == 1
    for part in parts:
        assert part in ended.err


def test_a_folder_with_only_a_tokenizer_will_do(call, tmp_path):
    tokenizer = load_tokenizer("base")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert not list((tmp_path / "tokenizer").glob("*.safetensors"))
    same = [call("preview", "rte", "--model", model).out for model in ("base", tmp_path / "tokenizer")]
    assert same[0] == same[1] and "ids supervised" in same[0]
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps({"model": "none"}))
    ended = call("preview", "rte", "--model", tmp_path / "tokenizer")
    assert ended.code == 2 and str(tmp_path / "tokenizer") in ended.err


@pytest.fixture
def chat_folder(tmp_path: Path) -> Path:
    """A tokenizer with a chat template, in a folder that says it was tuned with it."""
    tokenizer = load_tokenizer("base")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    tokenizer.save_pretrained(tmp_path / "chat")
    return tmp_path / "chat"


def test_the_boundary_can_be_chosen_and_is_else_that_of_the_folder(call, card, chat_folder):
    def shown(*args: object) -> tuple[list[int], list[int]]:
        ended = call("preview", card, "--rows", "2", "--model", *args)
        assert (ended.code, ended.err) == (0, "")
        return shown_ids(ended.out.partition("mood/samples/1")[2])

    tokenizer = load_tokenizer("base")
    encode = codec_of(tokenizer, Path("base")).encode
    plain, chat, arrow = shown("base"), shown(chat_folder, "--chat-template"), shown("base", "--separator", " -> ")
    assert plain == shown(chat_folder) and plain[1] == chat[1] == arrow[1]
    text = plain[0][: -len(encode("\n"))]
    assert arrow[0] == text + encode("x ->")[len(encode("x")) :]  # every word begins with a space of its own
    assert chat[0] == codec_of(load_tokenizer(str(chat_folder)), chat_folder, chat_template=True).prompt_ids(
        "All is well.\n\nWhich mood?\n\nOPTIONS:\n- sad\n- glad"
    )
    (chat_folder / "prompt_format.json").write_text(json.dumps({"separator": "\n", "chat_template": True}))
    assert shown(chat_folder) == chat
    assert shown(chat_folder, "--separator", " -> ") == arrow


def test_a_boundary_that_makes_no_sense_is_told(call, card):
    ended = call("preview", card, "--model", "base", "--separator", "x", "--chat-template")
    assert ended.code == 2 and "leave `separator` out" in ended.err
    ended = call("preview", card, "--separator", "x")
    assert ended.code == 2 and "no --model" in ended.err
    ended = call("preview", card, "--model", "base", "--chat-template")
    assert ended.code == 2 and "a tokenizer without a chat template" in ended.err
