from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from openflan.errors import ModelError
from openflan.evaluation.choose import OptionPrompt, pack_options
from openflan.models.tokenizer import codec_of
from openflan.templates.render import Prompt
from openflan.tokens.batch import collate
from openflan.tokens.codec import Codec
from openflan.tokens.encode import Fitted, Lengths, fit, training_ids
from openflan.tokens.pack import Pack, branched_segment, plain_segment
from toys import choice_example, toy_task

WHERE = Path("merging tokenizer")
CHARACTERS = "(AB)x=123 \n"
# Merges that reach across the end of "Pick one: (" and of "x = 1".
MERGES = [("(", "A"), ("(", "B"), ("1", "2"), ("12", "3"), (" ", "A")]
VOCABULARY = {token: number for number, token in enumerate(["<s>", "</s>", *CHARACTERS, *(a + b for a, b in MERGES)])}


def merging(add_bos: bool = False) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE(VOCABULARY, MERGES))
    if add_bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def codec(separator: str = "", add_bos: bool = False) -> Codec:
    return codec_of(merging(add_bos), WHERE, separator)


def tokens(ids: list[int] | tuple[int, ...]) -> list[str]:
    names = {number: token for token, number in VOCABULARY.items()}
    return [names[i] for i in ids]


def fitted(text: str, target: str, used: Codec) -> Fitted:
    prompt = Prompt("t/test/0", "t", "plain", text, target, (), None, (target,))
    return Fitted(prompt, tuple(used.prompt_ids(text)), tuple(used.encode(target)))


def test_the_fixture_merges_across_the_boundary_when_joined_as_text():
    assert tokens(merging()("(A)").input_ids) == ["(A", ")"]
    assert tokens(merging()("1" + "23").input_ids) == ["123"]


def test_options_keep_the_character_that_a_merge_would_take():
    used = codec()
    options = [used.target_ids("A)"), used.target_ids("B)")]
    assert [tokens(ids) for ids in options] == [["A", ")"], ["B", ")"]]
    assert tokens(used.prompt_ids("x = (")) == ["x", " ", "=", " ", "("]


def test_a_number_that_goes_on_after_the_boundary_is_not_empty():
    assert tokens(codec().prompt_ids("x = 1")) == ["x", " ", "=", " ", "1"]
    assert len(codec().target_ids("23")) == 2


@pytest.mark.parametrize(("prompt", "target"), [("x = (", "A)"), ("x = 1", "23"), ("(", "B) (A"), ("1 ", "A")])
def test_trained_ids_are_the_scored_ids_and_cover_the_target(prompt, target):
    used = codec(separator="\n")
    ids, num_supervised = training_ids(fitted(prompt, target, used), used)
    scored = branched_segment(0, used.prompt_ids(prompt), [used.target_ids(target)])
    assert ids == (*scored.ids, used.eos_id)
    assert num_supervised == len(used.target_ids(target)) + 1
    assert "".join(tokens(ids[-num_supervised:-1])) == target


@pytest.mark.parametrize(
    ("separator", "expected"),
    [("\n", ["x", "\n"]), (" ", ["x", " "]), ("", ["x"]), (" =", ["x", " ", "="])],
)
def test_the_separator_is_the_prompts_last_text(separator, expected):
    assert tokens(codec(separator).prompt_ids("x")) == expected


def test_spaces_stay_on_the_side_where_they_were_written():
    used = codec(separator="\n")
    assert tokens(used.prompt_ids("x ")) == ["x", " ", "\n"]
    assert tokens(used.target_ids(" A")) == [" A"]


@pytest.mark.parametrize("text", ["x", ""])
def test_bos_once_and_only_where_the_tokenizer_adds_it(text):
    with_bos, without = codec("\n", add_bos=True), codec("\n")
    assert (with_bos.before, without.before) == ((0,), ())
    assert with_bos.prompt_ids(text) == [0, *without.prompt_ids(text)]
    assert with_bos.prompt_ids(text).count(0) == 1
    assert 0 not in with_bos.target_ids("A")
    ids, _ = training_ids(fitted(text, "A", with_bos), with_bos)
    assert [ids.count(0), ids.count(1), ids[0], ids[-1]] == [1, 1, 0, 1]


def test_an_empty_target_is_an_error():
    with pytest.raises(ModelError, match="target '': found no token"):
        codec().target_ids("")


@pytest.mark.parametrize("separator", ["\n", "", " (", "<eos>"])
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("pad", ["</s>", "<s>"])
def test_the_fitted_prompt_is_trained_and_scored_on_the_same_ids(separator, chat, pad):
    """From the example on: what training packs begins with what scoring packs, and ends with the end, supervised."""
    tokenizer = merging()
    tokenizer.pad_token = pad  # pad == eos must not take eos out of the loss
    tokenizer.chat_template = "{% for m in messages %}({{ m.content }}</s>{% endfor %}"
    used = codec_of(tokenizer, WHERE, "\n" if chat else separator, chat)
    task = toy_task(templates=[{"id": "plain", "input": "x = {{ text }}"}])
    example = choice_example(0, "(1", ("A)", "B)", "23", "A) (B"), gold=2)
    found = fit(example, task, task.templates[0], used, Lengths())
    ids, num_supervised = training_ids(found, used)
    trained = plain_segment(0, ids, num_supervised)
    asked = OptionPrompt(found.input_ids, [used.target_ids(option) for option in found.prompt.options])
    ((packed,),) = (batch.packs for batch in pack_options({0: asked}, 64))
    (scored,) = packed.segments
    for number, option in enumerate(example.answer.options, start=1):
        branch = [i for i, b in zip(scored.ids, scored.branch, strict=True) if b == number]
        assert "".join(tokens(branch)) == option  # every character, whatever would have merged
    gold = [i for i, b in zip(scored.ids, scored.branch, strict=True) if b in (0, 3)]
    assert ids == (*gold, *used.end)
    assert [i for i, wanted in zip(trained.ids, trained.supervised, strict=True) if wanted] == [
        *used.encode("23"),
        VOCABULARY["</s>"],
    ]
    batch = collate([Pack(64, [trained])], pad_id=tokenizer.pad_token_id)
    assert batch.labels.tolist()[-1] == used.eos_id == VOCABULARY["</s>"]


@pytest.mark.parametrize(
    ("prefix_space", "prompt", "target"),
    [(True, ["_", "x", "\n"], ["A"]), (False, ["x", "\n"], ["A"])],
)
def test_a_space_before_every_text_stands_at_the_start_alone(prefix_space, prompt, target):
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", "_", "x", "A", "\n"])}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.Metaspace("_", "always" if prefix_space else "never", split=False)
    used = codec_of(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>"), WHERE)
    names = {number: token for token, number in vocabulary.items()}
    assert [names[i] for i in used.prompt_ids("x")] == prompt
    assert [names[i] for i in used.target_ids("A")] == target
