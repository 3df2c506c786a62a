from collections.abc import Mapping

import pytest
import torch

from openflan.evaluation.choose import OptionPrompt, pack_options, score_options, shared_groups
from openflan.models.lm import HuggingFaceModel
from openflan.tokens.batch import collate
from openflan.tokens.encode import Fitted, Lengths, fit
from openflan.tokens.pack import Pack, plain_segment
from toys import choice_example, toy_model, toy_task

TOLERANCE = 1e-5
TASK = toy_task()
LONG = "the cat sat on the mat and the dog ran to the river in 1984"
CASES = {
    "two": ("yes", "no"),
    "four": ("Tom", "the cat", "the dog", "the river"),
    "many": tuple(str(number) for number in range(13)),
    "a prefix": ("not", "not known", "not known why"),
    "leading tokens shared": ("the cat sat on the mat", "the cat sat on the boat", "the cat ran"),
    "one token and long": ("Yes", LONG),
    "one letter apart": ("A)", "B)"),
    "not ASCII": ("Zoë", "日本", "🎉"),
    "lines": ("one\ntwo", " one", "one "),
    "a special token": ("<|end|>", "<|pad|>"),
}
EXAMPLES = [
    choice_example(number, f"{LONG[: 7 * number]} Is it {number}?", options, gold=number % 2)
    for number, options in enumerate(CASES.values())
]
PROMPTS = dict(zip(CASES, EXAMPLES, strict=True))
models = pytest.mark.parametrize("model", ["llama", "gpt2"], indirect=True)


@pytest.fixture(scope="module")
def model(request) -> HuggingFaceModel:
    return toy_model(request.param)


def requests(model: HuggingFaceModel) -> dict[int, Fitted]:
    found = {n: fit(e, TASK, TASK.templates[n % 2], model.codec, Lengths(120, 64)) for n, e in enumerate(EXAMPLES)}
    assert len(found) == 10 and all(found.values())
    return found


def prompts(model: HuggingFaceModel, asked: Mapping[int, Fitted]) -> dict[int, OptionPrompt]:
    encode = model.codec.target_ids
    return {n: OptionPrompt(f.input_ids, [encode(option) for option in f.prompt.options]) for n, f in asked.items()}


def score(model: HuggingFaceModel, asked: Mapping[int, Fitted], pack_tokens: int, batch: int) -> dict[int, tuple]:
    scored: dict[int, tuple[float, ...]] = {}
    for some in pack_options(prompts(model, asked), pack_tokens, batch):
        part = score_options(model, some)
        assert not part.keys() & scored.keys()
        scored |= part
    return scored


def naive(model: HuggingFaceModel, fitted: Fitted) -> tuple[float, ...]:
    """Each prompt and option alone through the model, softmax over all ids in fp32, one token after another."""
    prompt, sums = list(fitted.input_ids), []
    for option in fitted.prompt.options:
        ids = prompt + model.codec.encode(option)
        with torch.inference_mode():
            logits = model.model(input_ids=torch.tensor([ids])).logits[0].float()
        log_p = logits.log_softmax(-1)
        sums.append(sum(float(log_p[place - 1, ids[place]]) for place in range(len(prompt), len(ids))))
    return tuple(sums)


def best(scores: tuple[float, ...]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


@models
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_branches_score_as_each_option_alone(model, attention):
    model.model.set_attn_implementation(attention)
    asked = requests(model)
    scored = score(model, asked, pack_tokens=128, batch=2)
    assert scored.keys() == asked.keys()
    for number, name in enumerate(CASES):
        expected = naive(model, asked[number])
        assert len(expected) == len(CASES[name])
        assert scored[number] == pytest.approx(expected, abs=TOLERANCE), name
        assert best(scored[number]) == best(expected), name


@models
def test_neither_batches_nor_packs_nor_order_change_a_score(model):
    asked = requests(model)
    reference = score(model, asked, pack_tokens=64, batch=1)
    assert [len(pack_options(prompts(model, asked), size)) for size in (64, 300, 1024)] == [6, 3, 1]
    shuffled = {number: asked[number] for number in (3, 9, 0, 7, 5, 1, 8, 2, 6, 4)}
    for order in (asked, shuffled):
        for pack_tokens in (64, 300, 1024):
            for batch in (1, 2, 7):
                scored = score(model, order, pack_tokens, batch)
                assert scored.keys() == reference.keys()
                for number, expected in reference.items():
                    assert scored[number] == pytest.approx(expected, abs=TOLERANCE)
                    assert best(scored[number]) == best(expected)


@models
def test_a_renumbered_request_keeps_its_scores(model):
    asked = requests(model)
    reference = score(model, asked, 128, 2)
    turned = score(model, {9 - number: fitted for number, fitted in asked.items()}, 128, 2)
    assert len(turned) == 10
    for number, expected in reference.items():
        assert turned[9 - number] == pytest.approx(expected, abs=TOLERANCE)


@models
def test_options_in_another_order_keep_their_scores(model):
    trunk = model.codec.prompt_ids("Is it so?")
    options = [model.codec.target_ids(option) for option in CASES["leading tokens shared"]]
    [forward] = [score_options(model, batch)[0] for batch in pack_options({0: OptionPrompt(trunk, options)}, 64)]
    [backward] = [score_options(model, batch)[0] for batch in pack_options({0: OptionPrompt(trunk, options[::-1])}, 64)]
    assert forward == pytest.approx(backward[::-1], abs=TOLERANCE)


@models
def test_a_score_is_what_training_would_lose_on_the_target(model):
    """The sum over an option is minus the loss of the same ids trained on, without end of text."""
    trunk, target = model.codec.prompt_ids("Is it so?"), model.codec.target_ids("the cat sat")
    [batch] = pack_options({0: OptionPrompt(trunk, [target, target[:1]])}, 64)
    scored = score_options(model, batch)[0]
    trained = model.log_probs(collate([Pack(64, [plain_segment(0, [*trunk, *target, 0], len(target) + 1)])])).tolist()
    assert len(trained) == len(target) + 1 > 3
    assert scored == pytest.approx((sum(trained[:-1]), trained[0]), abs=TOLERANCE)


def test_scores_do_not_lie_on_a_grid_of_half_precision():
    model = HuggingFaceModel(toy_model("llama").model.to(torch.bfloat16), None, toy_model("llama").codec)
    asked = requests(model)
    values = [value for scores in score(model, asked, 128, 2).values() for value in scores]
    assert len(values) == len(set(values)) == sum(map(len, CASES.values()))
    assert all(value == value for value in values)
    on_grid = [value for value in values if float(torch.tensor(value).to(torch.bfloat16)) == value]
    assert len(on_grid) < 3


def test_a_request_longer_than_the_packs_gets_packs_that_hold_it():
    model = toy_model("llama")
    asked = requests(model)
    packs = [pack for batch in pack_options(prompts(model, asked), 16) for pack in batch.packs]
    assert {p.capacity for p in packs} == {max(p.num_tokens for p in packs)}
    assert sorted(s.key for p in packs for s in p.segments) == list(range(10))


EXEMPLARS = "Tom likes the red boat.\nYes\n\nThe dog ran to the river.\nNo\n\n" * 2


def shared_prompts(model: HuggingFaceModel) -> dict[int, OptionPrompt]:
    """Three prompts after the same exemplars, two with a passage of their own before a question, and one alone."""
    encode = model.codec.target_ids
    texts = [f"{EXEMPLARS}Is it {n}?" for n in range(3)] + [f"{LONG}. {LONG}? {n}" for n in "ab"] + ["Is it so?"]
    options = [encode(text) for text in CASES["a prefix"]]
    return {n: OptionPrompt(tuple(model.codec.prompt_ids(text)), options[: 2 + n % 2]) for n, text in enumerate(texts)}


@pytest.mark.parametrize("attention", ["sdpa", "segmented"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_prompts_that_begin_alike_score_as_each_alone(kind, attention):
    model = toy_model(kind, attention)
    asked = shared_prompts(model)
    batches = pack_options(asked, pack_tokens=128)
    assert sorted(sorted(batch.requests) for batch in batches) == [[0, 1, 2], [3, 4], [5]]
    alone = {}
    for number, prompt in asked.items():
        alone |= score_options(model, pack_options({number: prompt}, 128)[0])
    together = {number: scores for batch in batches for number, scores in score_options(model, batch).items()}
    assert together.keys() == alone.keys()
    for number, expected in alone.items():
        assert together[number] == pytest.approx(expected, abs=TOLERANCE)


def test_what_is_shared_is_processed_once():
    """Tokens processed over the least possible: prompt once and options, what is shared once for a batch."""
    exemplars = tuple(range(2, 202))
    asked = {n: OptionPrompt((*exemplars, 7, n), [(5, 6), (8,)]) for n in range(2, 102)}
    batches = pack_options(asked, pack_tokens=512)
    assert sum(batch.num_tokens for batch in batches) == 201 * len(batches) + 100 * (1 + 3)
    assert len(batches) == 2
    singles = {n: OptionPrompt((n, *exemplars[: n % 40]), [(5, 6), (8,)]) for n in range(2, 102)}
    batches = pack_options(singles, pack_tokens=512)
    assert sum(batch.num_tokens for batch in batches) == sum(map(len, singles.values()))


def test_groups_save_the_most():
    a, b = tuple(range(100, 180)), tuple(range(200, 248))
    both = [(*b, 1), (*b, 2), (*a, 1), (*a, 2)]
    assert shared_groups(sorted(both)) == [range(0, 2), range(2, 4)]
    assert shared_groups([(1, 2, 3), (1, 2, 4)]) == [range(0, 1), range(1, 2)]  # too little to be worth it
    assert shared_groups([]) == []
    head = tuple(range(40))
    assert shared_groups([(*head, 1), (*head, 2), (*head, 3)]) == [range(0, 3)]
    assert shared_groups([(*head, *a, 1), (*head, *a, 2), (*head, *b, 1)]) == [range(0, 2), range(2, 3)]


def test_equal_prompts_and_equal_options_keep_their_own_scores():
    model = toy_model("llama")
    ids = tuple(model.codec.prompt_ids(EXEMPLARS))
    yes = model.codec.target_ids("Yes")
    [batch] = pack_options({3: OptionPrompt(ids, [yes, yes]), 8: OptionPrompt(ids, [yes])}, 512)
    found = score_options(model, batch)
    assert found[3] == pytest.approx((found[8][0], found[8][0]), abs=TOLERANCE)


def test_a_model_that_reads_no_packs_scores_the_same():
    model = toy_model("gpt2")
    asked = shared_prompts(model)
    expected = {n: s for batch in pack_options(asked, 128) for n, s in score_options(model, batch).items()}
    alone = toy_model("gpt2")
    alone.alone_because = "a test"
    found = {n: s for batch in pack_options(asked, 128) for n, s in score_options(alone, batch).items()}
    assert found.keys() == expected.keys()
    for number, scores in expected.items():
        assert found[number] == pytest.approx(scores, abs=TOLERANCE)
