from dataclasses import replace
from itertools import islice

import pytest

from openflan.errors import ModelError
from openflan.models.folder import EMBEDDED
from openflan.models.tokenizer import codec_of, load_tokenizer
from openflan.tasks.adapt import iter_examples
from openflan.tasks.catalog import load_catalog
from openflan.tasks.example import Choice, Example, Text
from openflan.tokens.codec import Codec
from openflan.tokens.encode import Asked, Fitted, Lengths, fit, fit_many, training_ids
from toys import choice_example, toy_task

# A tokenizer of words: every word is one id, and so is the separator.
IDS: dict[str, int] = {}


def word_ids(text: str) -> list[int]:
    return [IDS.setdefault(word, len(IDS) + 10) for word in text.split()]


WORDS = Codec(
    encode=word_ids,
    encode_many=lambda texts: list(map(word_ids, texts)),
    encode_targets=lambda texts: list(map(word_ids, texts)),
    decode=lambda ids: "",
    before=(),
    between=(5,),
    end=(1,),
    eos_id=1,
    ends=(1,),
    vocab_size=10_000,
    fingerprint="words",
    separator="|",
)
TASK = toy_task()
AFTER, BEFORE, INVENT = TASK.templates


def words(num_words: int, name: str = "w") -> str:
    return " ".join(f"{name}{i}" for i in range(num_words))


def test_what_fits_is_left_alone():
    example = choice_example(0, words(4), ("yes", "no"))
    fitted = fit(example, TASK, AFTER, WORDS, Lengths(16, 2))
    # 3 words before the text, 3 after it, 5 of options, the separator
    assert fitted.prompt.input == "Read this: w0 w1 w2 w3 What is right?\n\nOPTIONS:\n- yes\n- no"
    assert (len(fitted.input_ids), fitted.cut_words) == (15, 0)
    assert list(fitted.input_ids) == WORDS.prompt_ids(fitted.prompt.input)


def test_exactly_at_the_limit_nothing_is_cut():
    example = choice_example(0, words(4), ("yes", "no"))
    assert fit(example, TASK, AFTER, WORDS, Lengths(15, 2)).cut_words == 0
    assert fit(example, TASK, AFTER, WORDS, Lengths(14, 2)).cut_words == 2
    assert (
        fit(example, TASK, AFTER, WORDS, Lengths(13, 2)) == "too_long_prompt"
    )  # the first word, the dots and the last word stay


def test_too_long_a_prompt_loses_the_middle_of_its_field():
    example = choice_example(0, words(40), ("yes", "no"))
    fitted = fit(example, TASK, AFTER, WORDS, Lengths(40, 2))
    # 51 ids: 11 too many, 11/51 of 40 words is 8, and 8 more are taken than that
    assert fitted.cut_words == 16
    kept = [*(f"w{i}" for i in range(12)), "...", *(f"w{i}" for i in range(28, 40))]
    assert fitted.prompt.input == f"Read this: {' '.join(kept)} What is right?\n\nOPTIONS:\n- yes\n- no"
    assert (fitted.prompt.options, fitted.prompt.gold, fitted.prompt.target) == (("yes", "no"), 0, "yes")


@pytest.mark.parametrize("limit", range(15, 60))
def test_words_cut_and_words_kept_add_up_however_often_it_is_cut(limit):
    example = choice_example(0, words(200), ("yes", "no"))
    fitted = fit(example, TASK, AFTER, WORDS, Lengths(limit, 2))
    assert len(fitted.input_ids) <= limit
    text = (
        fitted.prompt.input.removeprefix("Read this: ").split(" What is right?\n\nOPTIONS:\n- yes\n- no")[0].split(" ")
    )
    assert len(text) - 1 + fitted.cut_words == 200
    before, after = text[: text.index("...")], text[text.index("...") + 1 :]
    assert before == [f"w{i}" for i in range(len(before))]
    assert after == [f"w{i}" for i in range(200 - len(after), 200)]
    assert before and after


def test_only_the_longest_field_is_cut():
    fields = {"premise": "premise", "text": "text"}
    task = toy_task(fields=fields, templates=[{"id": "two", "input": "{{ premise }} So: {{ text }}"}])
    example = Example("mood/test/0", "mood", {"premise": words(50, "p"), "text": words(10)}, Choice(("a", "b"), 1))
    fitted = fit(example, task, task.templates[0], WORDS, Lengths(48, 2))
    premise, text = fitted.prompt.input.split(" So: ")
    assert text == words(10)
    assert premise.startswith("p0 p1 ") and premise.endswith(" p48 p49") and " ... " in premise
    assert fitted.cut_words == 51 - len(premise.split(" "))


def test_an_instruction_that_is_too_long_is_dropped():
    task = toy_task(templates=[{"id": "long", "input": words(30, "i") + " {{ text }}"}])
    assert (
        fit(choice_example(0, words(40), ("a", "b")), task, task.templates[0], WORDS, Lengths(30, 2))
        == "too_long_prompt"
    )


def test_options_are_never_cut():
    fields = {"text": "text", "a": "a", "b": "b"}
    templates = [{"id": "which", "input": "{{ text }} Which: {{ a }} or {{ b }}?\n\n{{ options_block }}"}]
    task = toy_task(fields=fields, templates=templates)
    options = (words(30, "a"), words(25, "b"))
    example = Example("mood/test/0", "mood", {"text": words(20), "a": options[0], "b": options[1]}, Choice(options, 0))
    fitted = fit(example, task, task.templates[0], WORDS, Lengths(125, 40))
    assert fitted.prompt.options == options
    for option in options:
        assert fitted.prompt.input.count(option) == 2  # in the instruction, with the mark after it, and in the block
    assert fitted.prompt.input.startswith("w0 ... w18 w19 Which: a0 a1 ")
    assert fitted.cut_words == 17
    assert fit(example, task, task.templates[0], WORDS, Lengths(110, 40)) == "too_long_prompt"


def test_the_target_of_an_inverted_template_is_never_cut():
    fields = {"text": "text", "hint": "hint"}
    templates = [
        {"id": "plain", "input": "{{ text }}"},
        {"id": "invent", "input": "Use {{ hint }}.", "target": "{{ text }}", "inverted": True},
    ]
    task = toy_task(kind="text", fields=fields, templates=templates)
    example = Example("mood/test/0", "mood", {"text": words(50), "hint": words(30, "h")}, Text(("a",)))
    fitted = fit(example, task, task.templates[1], WORDS, Lengths(22, 60))
    assert fitted.prompt.target == words(50)
    assert fitted.prompt.input.startswith("Use h0 h1 ") and fitted.prompt.input.endswith(" h29.")
    assert fitted.cut_words > 0


def test_too_long_a_target_is_dropped_and_eos_counts():
    example = choice_example(0, "short", (words(5), "no"), gold=1)
    assert isinstance(fit(example, TASK, AFTER, WORDS, Lengths(64, 6)), Fitted)
    assert fit(example, TASK, AFTER, WORDS, Lengths(64, 5)) == "too_long_target"  # the wrong option is scored, too


def test_the_words_around_the_answer_count_as_target():
    task = toy_task(templates=[{"id": "sentence", "input": "{{ text }}", "target": "The answer is {{ answer }}"}])
    example = choice_example(0, "short", ("yes", "no"))
    assert isinstance(fit(example, task, task.templates[0], WORDS, Lengths(64, 5)), Fitted)
    assert fit(example, task, task.templates[0], WORDS, Lengths(64, 4)) == "too_long_target"


def test_a_list_loses_items_from_its_middle():
    templates = [{"id": "list", "input": "{% for t in text %}{{ t }} {% endfor %}"}]
    example = Example("mood/test/0", "mood", {"text": tuple(words(40).split())}, Choice(("a", "b"), 0))
    task = toy_task(templates=templates)
    fitted = fit(example, task, task.templates[0], WORDS, Lengths(20, 2))
    assert fitted.prompt.input == "w0 w1 w2 w3 w4 w5 ... w34 w35 w36 w37 w38 w39"
    assert fitted.cut_words == 28
    assert fit(example, task, task.templates[0], WORDS, Lengths(41, 2)).cut_words == 0
    task = toy_task(templates=templates, cut=[])
    assert fit(example, task, task.templates[0], WORDS, Lengths(20, 2)) == "too_long_prompt"


def test_the_card_says_what_is_cut_and_in_which_order():
    fields = {"story": "story", "asked": "asked", "title": "title"}
    templates = [{"id": "three", "input": "{{ title }} | {{ story }} | {{ asked }}"}]
    values = {"story": words(50, "s"), "asked": words(60, "q"), "title": words(40, "t")}
    example = Example("mood/test/0", "mood", values, Choice(("a", "b"), 1))

    def parts(limit, cut):
        task = toy_task(fields=fields, templates=templates, cut=cut)
        fitted = fit(example, task, task.templates[0], WORDS, Lengths(limit, 2))
        return fitted if isinstance(fitted, str) else fitted.prompt.input.split(" | ")

    assert parts(130, ["story", "asked"])[::2] == [values["title"], values["asked"]]
    title, story, asked = parts(80, ["story", "asked"])
    assert (title, story) == (values["title"], "s0 ... s49") and " ... " in asked
    assert parts(80, ["story"]) == "too_long_prompt"
    title, story, asked = parts(100, None)
    assert [len(part.split()) for part in (title, story, asked)] == [32, 31, 31]  # the longest first, then all alike


def test_a_field_that_the_wording_does_not_show_is_no_help():
    fields = {"text": "text", "hidden": "hidden"}
    task = toy_task(fields=fields, templates=[{"id": "one", "input": "{{ text }}"}])
    values = {"text": words(40), "hidden": words(400, "h")}
    example = Example("mood/test/0", "mood", values, Choice(("a", "b"), 1))
    assert fit(example, task, task.templates[0], WORDS, Lengths(30, 2)).cut_words == 18


CHARACTERS = replace(
    WORDS, encode=lambda text: list(map(ord, text)), encode_many=lambda texts: [list(map(ord, text)) for text in texts]
)


@pytest.mark.parametrize(
    "text", ["山" * 900, "\n".join(f"key{i}=value{i}" for i in range(200)), "https://x.org/" + "a1" * 900]
)
def test_text_without_spaces_is_cut(text):
    task = toy_task(templates=[{"id": "one", "input": "{{ text }}"}])
    example = Example("mood/test/0", "mood", {"text": text}, Choice(("a", "b"), 1))
    fitted = fit(example, task, task.templates[0], CHARACTERS, Lengths(600, 2))
    first, last = fitted.prompt.input.split("...")
    assert text.startswith(first) and text.endswith(last)
    assert 300 < len(fitted.input_ids) <= 600 and fitted.cut_words > 0
    if "key" in text:
        assert {len(line.split("=")) for line in (first + last.lstrip("\n")).splitlines()} == {2}  # whole lines


def test_a_list_of_long_texts_loses_the_middles_of_the_longest():
    task = toy_task(templates=[{"id": "all", "input": '{{ text | join(" | ") }}'}])
    items = (words(30, "a"), words(80, "b"), words(10, "c"))
    example = Example("mood/test/0", "mood", {"text": items}, Choice(("a", "b"), 1))
    fitted = fit(example, task, task.templates[0], WORDS, Lengths(110, 2))
    a, b, c = fitted.prompt.input.split(" | ")
    assert (a, c) == (items[0], items[2]) and b.startswith("b0 ") and b.endswith(" b79")


def test_a_list_that_a_template_takes_items_of_by_number_keeps_their_places():
    task = toy_task(templates=[{"id": "fourth", "input": "{{ text[3] }} of {{ text | join }}"}])
    example = Example("mood/test/0", "mood", {"text": tuple(words(9, name) for name in "abcde")}, Choice(("x", "y"), 1))
    fitted = fit(example, task, task.templates[0], WORDS, Lengths(40, 2))
    assert fitted.prompt.input.startswith("d0 ") and " of a0 " in fitted.prompt.input


@pytest.mark.parametrize("limit", [256, 384, 512])
def test_coqa_keeps_all_its_questions(data_root, limit):
    task = load_catalog().task("coqa")
    rows = list(islice(iter_examples(task, "test", data_root), 60))
    codec = codec_of(load_tokenizer("base"), EMBEDDED)
    asked = [Asked(row, template) for template in task.scored_templates[:2] for row in rows]
    fitted = list(zip(asked, fit_many(asked, task, codec, Lengths(limit, 512)), strict=True))
    found = [(one.example.fields, each.prompt.input) for one, each in fitted if isinstance(each, Fitted)]
    assert len(found) > 30 and sum(fields["story"] not in text for fields, text in found) > 30
    assert [fields["questions"] in text for fields, text in found] == [True] * len(found)


def test_multi_news_is_cut_to_the_papers_length():
    """Rows as long as real ones: two to four articles, of several hundred words each."""
    task = load_catalog().task("multi_news")
    codec = codec_of(load_tokenizer("base"), EMBEDDED)
    for num_articles in (2, 3, 4):
        articles = tuple(
            " ".join(f"In{i} the town hall they said so." for i in range(100)) for _ in range(num_articles)
        )
        example = Example("multi_news/test/0", "multi_news", {"articles": articles}, Text(("They said so.",)))
        for template in task.scored_templates:
            fitted = fit(example, task, template, codec, Lengths())
            assert 900 < len(fitted.input_ids) <= 1024


def test_styles_and_hidden_options_reach_the_renderer():
    example = choice_example(0, "Fine!", ("yes", "no"))
    limits = Lengths(64, 8)
    assert (
        fit(example, TASK, AFTER, WORDS, limits, show_options=False).prompt.input == "Read this: Fine! What is right?"
    )
    assert fit(example, TASK, AFTER, WORDS, limits, style="dataset_name").prompt.input == "[mood] Fine!"


def test_the_target_and_eos_are_supervised():
    fitted = fit(choice_example(0, "Fine!", ("well well", "no")), TASK, BEFORE, WORDS, Lengths())
    ids, num_supervised = training_ids(fitted, WORDS)
    well = IDS["well"]
    assert ids == (*fitted.input_ids, well, well, 1)
    assert num_supervised == 3


@pytest.mark.parametrize(("total", "cut_words"), [(17, 0), (16, 2), (11, "too_long_prompt"), (3, "too_long_target")])
def test_what_is_left_to_a_prompt_depends_on_what_follows_it(total, cut_words):
    """A prompt of 15 ids, an option of one and the end of text, in so many positions."""
    example = choice_example(0, words(4), ("yes", "no"))
    fitted = fit(example, TASK, AFTER, WORDS, Lengths(1024, 1024, total))
    assert (fitted.cut_words if isinstance(fitted, Fitted) else fitted) == cut_words


def test_the_longest_option_counts():
    example = choice_example(0, words(4), ("yes", "no no no"))
    assert fit(example, TASK, BEFORE, WORDS, Lengths(1024, 1024, 12)).cut_words == 0
    assert fit(example, TASK, BEFORE, WORDS, Lengths(1024, 1024, 11)).cut_words == 2


def few_shot(max_input_tokens: int, num_shots: int = 3, max_target_tokens: int = 2):
    example = choice_example(0, words(4), ("yes", "no"))
    exemplars = [choice_example(i, words(4, f"x{i}-"), ("yes", "no")) for i in (1, 2, 3)][:num_shots]
    return fit(example, TASK, AFTER, WORDS, Lengths(max_input_tokens, max_target_tokens), exemplars=exemplars)


def test_exemplars_come_with_their_targets_and_the_codecs_separator():
    fitted = few_shot(100, num_shots=1)
    assert fitted.num_exemplars == 1
    assert fitted.prompt.input == (
        "Read this: x1-0 x1-1 x1-2 x1-3 What is right?\n\nOPTIONS:\n- yes\n- no|yes\n\n"
        "Read this: w0 w1 w2 w3 What is right?\n\nOPTIONS:\n- yes\n- no"
    )
    assert list(fitted.input_ids) == WORDS.prompt_ids(fitted.prompt.input)
    assert training_ids(fitted, WORDS) == ((*fitted.input_ids, *WORDS.encode("yes"), 1), 2)


@pytest.mark.parametrize(
    ("limit", "num_kept", "num_ids"),
    [(57, 3, 57), (56, 2, 43), (43, 2, 43), (42, 1, 29), (28, 0, 15), (15, 0, 15), (14, 0, 14)],
)
def test_too_long_a_prompt_loses_whole_exemplars_before_any_word(limit, num_kept, num_ids):
    fitted = few_shot(limit)
    assert (fitted.num_exemplars, len(fitted.input_ids)) == (num_kept, num_ids)
    assert fitted.cut_words == (2 if limit == 14 else 0)


def test_a_target_that_is_too_long_drops_the_row_with_exemplars_as_without():
    assert few_shot(100, max_target_tokens=1) == "too_long_target"


def test_many_at_once_are_the_same_as_one_by_one():
    rows = [choice_example(n, words(n % 70), ("yes", words(n % 4 + 1))) for n in range(200)]
    shots = [rows[: n % 4] for n in range(200)]
    templates = [TASK.templates[n % 3] for n in range(200)]
    asked = [Asked(*each) for each in zip(rows, templates, shots, strict=True)]
    limits = Lengths(13, 4)
    many = fit_many(asked, TASK, WORDS, limits)
    assert many == [fit(a.example, TASK, a.template, WORDS, limits, exemplars=a.exemplars) for a in asked]
    kinds = [each if isinstance(each, str) else (each.num_exemplars > 0, each.cut_words > 0) for each in many]
    assert {*kinds} == {"too_long_prompt", "too_long_target", (False, False), (False, True), (True, False)}
    assert fit_many([], TASK, WORDS, limits) == []


def test_ids_around_the_prompt_and_the_target_count():
    chat = replace(WORDS, before=(1, 2, 3), between=(4, 5), end=(6, 7))
    example = choice_example(0, words(4), ("yes", "no"))
    fitted = fit(example, TASK, AFTER, chat, Lengths(19, 3))  # 14 words
    assert (fitted.input_ids[:3], fitted.input_ids[-2:], fitted.cut_words) == ((1, 2, 3), (4, 5), 0)
    assert training_ids(fitted, chat) == ((*fitted.input_ids, *word_ids("yes"), 6, 7), 3)
    assert fit(example, TASK, AFTER, chat, Lengths(18, 3)).cut_words == 2
    assert fit(example, TASK, AFTER, chat, Lengths(19, 2)) == "too_long_target"


def test_an_empty_target_is_an_error():
    task = toy_task(templates=[{"id": "nothing", "input": "{{ text }}", "target": " "}])
    fitted = fit(choice_example(0, "Fine!", ("yes", "no")), task, task.templates[0], WORDS, Lengths())
    with pytest.raises(ModelError, match="target '': found no token"):
        training_ids(fitted, WORDS)
