import dataclasses
from collections.abc import Sequence

import pytest
import torch

from openflan.errors import ConfigError, ModelError, RunError
from openflan.evaluation.metrics import credit
from openflan.evaluation.predictions import Prediction, read_predictions
from openflan.evaluation.requests import Request, check_shots, draw_examples, requests_for
from openflan.evaluation.run import Part, evaluate
from openflan.evaluation.settings import EvalSettings
from openflan.models.lm import HuggingFaceModel
from openflan.tasks.card import Template
from openflan.tasks.example import Example
from openflan.tokens.batch import Batch, collate
from openflan.tokens.encode import Lengths
from openflan.tokens.pack import Pack, branched_segment
from toys import choice_example, text_example, toy_model, toy_task

LENGTHS = Lengths(64, 32)
SETTINGS = EvalSettings(pack_tokens=64, packs_per_batch=1, texts_per_batch=5)
MOOD = toy_task("mood")
NAME = toy_task("name", "text", max_new_tokens=4)
STORY = toy_task("story", "text", max_new_tokens=12)
WORDS = ["the", "cat", "sat", "on", "the", "mat", "and", "the", "dog", "ran", "to", "the", "red", "river"]


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def model() -> HuggingFaceModel:
    return toy_model("llama")


def all_requests() -> list[Request]:
    """Eleven choices with two to four options and seven texts, each with two templates."""
    moods = [choice_example(n, " ".join(WORDS[: 1 + n]), (*WORDS[1 : 2 + n % 3], "no"), gold=n % 2) for n in range(11)]
    names = [text_example(n, " ".join(WORDS[n:]), ("Tom", "Tim"), "name") for n in range(4)]
    stories = [text_example(n, " ".join(WORDS[: 4 * n + 1]), ("a dog",), "story") for n in range(3)]
    return requests_for([MOOD, NAME, STORY], {"mood": moods, "name": names, "story": stories})


def by_key(predictions: Sequence[Prediction]) -> dict[tuple[str, str, str], Prediction]:
    assert len({p.key for p in predictions}) == len(predictions)
    return {p.key: p for p in predictions}


def assert_alike(found: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    """The same predictions, log-probs to 1e-5, whatever their order."""
    ours, theirs = by_key(found), by_key(expected)
    assert ours.keys() == theirs.keys()
    for key, prediction in ours.items():
        assert prediction.logprobs == pytest.approx(theirs[key].logprobs, abs=1e-5)
        assert dataclasses.replace(prediction, logprobs=theirs[key].logprobs) == theirs[key]


def kill_after(num_batches: int):
    seen = []

    def on_batch(predictions: Sequence[Prediction]) -> None:
        seen.append(len(predictions))
        if len(seen) == num_batches:
            raise Killed

    return on_batch


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory) -> list[Prediction]:
    return evaluate(model, all_requests(), SETTINGS, LENGTHS, tmp_path_factory.mktemp("whole") / "store.jsonl")


def test_one_prediction_for_each_request_in_its_order(whole):
    requests = all_requests()
    assert len(whole) == len(requests) == 36
    assert [p.key for p in whole] == [(task.name, example.uid, t.id) for task, example, t, _ in requests]
    for prediction, (task, example, _, _) in zip(whole, requests, strict=True):
        if task is MOOD:
            options = example.answer.options
            assert (prediction.gold, prediction.text) == (example.answer.gold, None)
            assert len(prediction.logprobs) == len(options)
            assert all(value < 0 for value in prediction.logprobs)
            assert prediction.num_bytes == tuple(len(option) for option in options)
            assert all(number >= 1 for number in prediction.num_tokens)
            assert credit(prediction, "accuracy") in (0.0, 1.0)
        else:
            assert (prediction.gold, prediction.logprobs) == (None, ())
            assert prediction.references == example.answer.references
            assert prediction.text == prediction.text.strip()


def test_the_store_holds_what_is_returned(model, tmp_path):
    store = tmp_path / "predictions" / "mood.jsonl"
    predictions = evaluate(model, all_requests(), SETTINGS, LENGTHS, store)
    assert by_key(list(read_predictions(store))) == by_key(predictions)


def test_repeated_it_asks_the_model_nothing(model, whole, tmp_path, monkeypatch):
    store = tmp_path / "store.jsonl"
    evaluate(model, all_requests(), SETTINGS, LENGTHS, store)
    content = store.read_bytes()

    def refuse(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr(HuggingFaceModel, "log_probs", refuse)
    monkeypatch.setattr(HuggingFaceModel, "generate", refuse)
    reported: list[Prediction] = []
    again = evaluate(model, all_requests(), SETTINGS, LENGTHS, store, on_batch=reported.extend)
    assert again == whole
    assert store.read_bytes() == content
    assert by_key(reported) == by_key(whole)


@pytest.mark.parametrize("num_batches", [1, 3, 6, 9])
def test_interrupted_and_repeated_it_gives_the_same(num_batches, model, whole, tmp_path):
    store = tmp_path / "store.jsonl"
    with pytest.raises(Killed):
        evaluate(model, all_requests(), SETTINGS, LENGTHS, store, on_batch=kill_after(num_batches))
    assert 0 < len(list(read_predictions(store))) < 36
    found = evaluate(model, all_requests(), SETTINGS, LENGTHS, store)
    assert_alike(found, whole)
    assert [p.logprobs for p in found] == [p.logprobs for p in whole]
    assert len(list(read_predictions(store))) == 36


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.5, 0.99])
def test_a_store_cut_anywhere_is_completed(share, model, whole, tmp_path):
    store = tmp_path / "store.jsonl"
    evaluate(model, all_requests(), SETTINGS, LENGTHS, store)
    content = store.read_bytes()
    store.write_bytes(content[: int(len(content) * share)])
    found = evaluate(model, all_requests(), SETTINGS, LENGTHS, store)
    assert found == whole
    assert by_key(list(read_predictions(store))) == by_key(whole)


def test_a_store_of_something_else_is_an_error(model, tmp_path):
    store = tmp_path / "store.jsonl"
    store.write_text('{"uid": "mood/test/0"}\n')
    with pytest.raises(
        RunError, match=r"store.jsonl: found a line \(mood/test/0\) that was changed, or made with another"
    ):
        evaluate(model, all_requests(), SETTINGS, LENGTHS, store)
    store.write_text("not JSON\n")
    with pytest.raises(RunError, match=r"store.jsonl, line 1: found text that is not JSON .* remove it and repeat"):
        evaluate(model, all_requests(), SETTINGS, LENGTHS, store)
    store.unlink()
    evaluate(model, all_requests(), SETTINGS, LENGTHS, store, identity="one")
    with pytest.raises(RunError, match=r"store.jsonl: found a line \(.*\) that was changed, or made with another"):
        evaluate(model, all_requests(), SETTINGS, LENGTHS, store, identity="another")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_neither_order_nor_batches_change_a_prediction(kind, tmp_path):
    model, requests = toy_model(kind), all_requests()
    expected = evaluate(model, requests, SETTINGS, LENGTHS, tmp_path / "0")
    orders = [requests[::-1], requests[1::2] + requests[::2], requests[20:] + requests[:20]]
    for number, (order, size) in enumerate(zip(orders, (1, 2, 7), strict=True), start=1):
        settings = EvalSettings(pack_tokens=200, packs_per_batch=size, texts_per_batch=size)
        found = evaluate(model, order, settings, LENGTHS, tmp_path / str(number))
        assert [p.key for p in found] == [(task.name, example.uid, t.id) for task, example, t, _ in order]
        assert_alike(found, expected)


def test_a_part_of_the_requests_is_scored_as_in_the_whole(model, whole, tmp_path):
    found = evaluate(model, all_requests()[3:25:4], SETTINGS, LENGTHS, tmp_path / "store.jsonl")
    assert_alike(found, whole[3:25:4])


def test_what_cannot_fit_is_unscored_and_not_wrong(model, tmp_path):
    long = toy_task("long", templates=[{"id": "long", "input": "word " * 80 + "{{ text }}"}])
    wordy = choice_example(1, "Fine!", ("yes", " ".join(WORDS * 3)), task="long")
    fine = choice_example(2, "Fine!", ("yes", "no"), task="long")
    requests = [
        Request(long, choice_example(0, "Fine!", ("yes", "no"), task="long"), long.templates[0]),
        Request(long, wordy, Template(id="short", input="{{ text }}")),
        Request(long, fine, Template(id="short", input="{{ text }}")),
    ]
    lengths = Lengths(64, 32, 40)
    found = evaluate(model, requests, SETTINGS, lengths, tmp_path / "store.jsonl")
    assert [credit(p, "accuracy") is None for p in found] == [True, True, False]
    assert [p.logprobs for p in found[:2]] == [(), ()]
    assert [p.unscored for p in found] == ["too_long_prompt", "too_long_target", ""]
    assert [p.uid for p in found] == ["long/test/0", "long/test/1", "long/test/2"]
    assert evaluate(model, requests, SETTINGS, lengths, tmp_path / "store.jsonl") == found


def test_too_long_a_field_is_cut_and_scored(model, tmp_path):
    requests = requests_for([MOOD], {"mood": [choice_example(0, " ".join(WORDS * 20), ("yes", "no"))]})
    found = evaluate(model, requests, SETTINGS, LENGTHS, tmp_path / "store.jsonl")
    assert [len(p.logprobs) for p in found] == [2, 2]


class Parrot:
    """A model that writes the same text after every prompt."""

    def __init__(self, text: str) -> None:
        self.codec = toy_model("llama").codec
        self.ids = self.codec.encode(text)

    def log_probs(self, batch: Batch):
        raise AssertionError("no options here")

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[list[int]]:
        return [self.ids[:max_new_tokens] for _ in prompts]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ((), "Tom ran.\nQ: And Tim?"),
        (("\n",), "Tom ran."),
        (("Q:",), "Tom ran."),
        (("?", "ran"), "Tom"),
        (("nowhere",), "Tom ran.\nQ: And Tim?"),
        (("Tom",), ""),
    ],
)
def test_the_text_ends_at_the_first_stop_of_the_card(stop, expected, tmp_path):
    task = toy_task("name", "text", stop=stop)
    requests = requests_for([task], {"name": [text_example(0, "Who ran?", ("Tom ran.",))]})
    found = evaluate(Parrot(" Tom ran.\nQ: And Tim? "), requests, SETTINGS, LENGTHS, tmp_path / "store.jsonl")
    assert [p.text for p in found] == [expected, expected]


def test_each_task_keeps_its_own_limit_in_a_shared_batch(tmp_path):
    """A longer answer of another task in the batch must not lengthen this one's."""
    short, long = toy_task("name", "text", max_new_tokens=2), toy_task("story", "text", max_new_tokens=9)
    examples = {"name": [text_example(0, "Who?", ("Tom",))], "story": [text_example(0, "Who?", ("Tom",), "story")]}
    parrot = Parrot("1234567890123")
    mixed = evaluate(parrot, requests_for([short, long], examples), SETTINGS, LENGTHS, tmp_path / "mixed")
    alone = evaluate(parrot, requests_for([short], examples), SETTINGS, LENGTHS, tmp_path / "alone")
    assert mixed[:2] == alone
    assert [p.text for p in mixed] == ["1", "1", "12345678", "12345678"]  # the first of the ids is a space


def test_references_and_examples_are_drawn_alike_for_every_model():
    examples = [choice_example(n, f"Text {n}", ("yes", "no")) for n in range(50)]
    few = draw_examples(examples, EvalSettings(max_examples_per_task=7), seed=3)
    assert few == draw_examples(list(examples), EvalSettings(max_examples_per_task=7), seed=3)
    numbers = [int(e.uid.rsplit("/", 1)[1]) for e in few]
    assert numbers == sorted(set(numbers)) and len(numbers) == 7
    assert few != draw_examples(examples, EvalSettings(max_examples_per_task=7), seed=4)
    assert draw_examples(examples, EvalSettings(max_examples_per_task=50), seed=3) == examples


def test_a_group_is_drawn_whole_or_not_at_all():
    """Groups of 4, 3, 2, 1, 4, 3, ... rows."""
    texts = [f"Question {n}" for n in range(12) for _ in range(4 - n % 4)]
    examples = [choice_example(n, text, ("yes", "no")) for n, text in enumerate(texts)]
    few = draw_examples(examples, EvalSettings(max_examples_per_task=11), 3, ["text"])
    found = [e.fields["text"] for e in few]
    assert 8 <= len(found) <= 11
    assert all(found.count(text) == texts.count(text) for text in found)
    assert [int(e.uid.rsplit("/", 1)[1]) for e in few] == sorted(int(e.uid.rsplit("/", 1)[1]) for e in few)
    assert few != draw_examples(examples, EvalSettings(max_examples_per_task=11), 4, ["text"])
    assert draw_examples(examples, EvalSettings(max_examples_per_task=30), 3, ["text"]) == examples
    [text] = {e.fields["text"] for e in draw_examples(examples[:7], EvalSettings(max_examples_per_task=1), 3, ["text"])}
    assert text in texts


def test_inverted_templates_are_never_asked():
    requests = requests_for([MOOD], {"mood": [choice_example(0, "Fine!", ("yes", "no"))]})
    assert [request.template.id for request in requests] == ["after", "before"]


def test_examples_of_a_group_share_its_name(model, tmp_path) -> None:
    grouped = toy_task("mood", group_by=["text"], unit=["text"])
    examples = [
        choice_example(n, text, ("good", "bad"), gold=0) for n, text in enumerate(["the cat", "the cat", "ran"])
    ]
    requests = requests_for([grouped], {"mood": examples})
    found = evaluate(model, requests, SETTINGS, LENGTHS, tmp_path / "p.jsonl")
    first, second, third = [p.group for p in found][::2]
    assert first == second != third and len(first) == len(third) == 16
    assert [p.unit for p in found][::2] == [first, second, third]
    plain = evaluate(model, requests_for([MOOD], {"mood": examples}), SETTINGS, LENGTHS, tmp_path / "plain.jsonl")
    assert {(p.group, p.unit) for p in plain} == {("", "")}


def solved(num: int, task: str = "mood") -> list[Example]:
    rows = [choice_example(100 + n, f"{WORDS[n]} {n}", ("yes", "no"), n % 2, task) for n in range(num)]
    return [dataclasses.replace(row, uid=row.uid.replace("/test/", "/train/")) for row in rows]


def shots(num_shots: int, exemplars: str = "per_example", pool: Sequence[Example] = ()) -> list[Request]:
    examples = {"mood": [choice_example(n, " ".join(WORDS[: 1 + n]), ("yes", "no")) for n in range(6)]}
    settings = EvalSettings(num_shots=num_shots, exemplars=exemplars)
    return requests_for([MOOD], examples, settings, {"mood": pool or solved(9)}, seed=1)


def test_exemplars_belong_to_the_example_or_to_the_task():
    own = shots(3)
    assert {len(request.exemplars) for request in own} == {3}
    by_uid = {request.example.uid: request.exemplars for request in own}
    assert all(request.exemplars == by_uid[request.example.uid] for request in own)
    assert len({tuple(e.uid for e in exemplars) for exemplars in by_uid.values()}) > 3
    assert shots(3)[::-1] == own[::-1]
    fixed = shots(3, "fixed")
    assert all(request.exemplars == fixed[0].exemplars for request in fixed)


@pytest.mark.parametrize("exemplars", ["per_example", "fixed"])
def test_a_row_with_the_same_text_is_never_shown(exemplars):
    double = dataclasses.replace(solved(1)[0], fields={"text": "The  CAT"})
    [first, *_] = shots(9, exemplars, [double, *solved(4)])
    assert first.example.fields["text"] == "the" and double in first.exemplars
    second = shots(9, exemplars, [double, *solved(4)])[2]
    assert second.example.fields["text"] == "the cat"
    assert len(second.exemplars) == 4 and double not in second.exemplars


def test_as_many_whole_exemplars_as_fit(model, tmp_path):
    settings = EvalSettings(num_shots=9)
    found = evaluate(model, shots(9), settings, Lengths(110, 32), tmp_path / "store.jsonl")
    numbers = [p.num_exemplars for p in found]
    assert 0 < max(numbers) < 9 and all(p.logprobs and not p.num_cut_words for p in found)
    fewer = evaluate(model, shots(9), settings, Lengths(60, 32), tmp_path / "fewer.jsonl")
    assert sum(p.num_exemplars for p in fewer) < sum(numbers)


def test_a_task_without_training_rows_has_no_exemplars():
    only_test = toy_task("mood", source={"splits": {"train": None, "test": "test"}})
    check_shots([only_test], EvalSettings())
    with pytest.raises(ConfigError, match=r"--shots: found 2 shots for mood, of which there are only test rows"):
        check_shots([only_test], EvalSettings(num_shots=2))


def test_the_completion_prompt_takes_the_place_of_the_templates(model, tmp_path):
    plain = toy_task("mood", completion={"input": "{{ text }} So:"})
    examples = {"mood": [choice_example(0, "Fine!", ("yes", "no"))]}
    settings = EvalSettings(prompt="completion")
    requests = requests_for([plain], examples, settings)
    assert [request.template.id for request in requests] == ["completion"]
    [found] = evaluate(model, requests, settings, LENGTHS, tmp_path / "store.jsonl")
    assert found.template == "completion" and len(found.logprobs) == 2
    with pytest.raises(ConfigError, match="no completion prompt of mood"):
        requests_for([MOOD], examples, settings)


@pytest.mark.parametrize("exemplars", ["per_example", "fixed"])
def test_shared_exemplars_change_no_score(model, tmp_path, exemplars):
    """Scored in large batches and one by one, interrupted and not."""
    requests = shots(3, exemplars)
    lengths = Lengths(120, 32)
    large = EvalSettings(num_shots=3, pack_tokens=1024)
    small = EvalSettings(num_shots=3, pack_tokens=64, packs_per_batch=1)
    together = evaluate(model, requests, large, lengths, tmp_path / "large.jsonl")
    assert_alike(evaluate(model, requests, small, lengths, tmp_path / "small.jsonl"), together)
    assert max(p.num_exemplars for p in together) > 0


def test_priors_are_those_of_the_options_after_an_empty_prompt(model, tmp_path):
    requests = requests_for([MOOD], {"mood": [choice_example(n, "Fine!", ("yes", WORDS[n])) for n in range(4)]})
    settings = EvalSettings(priors=True)
    found = evaluate(model, requests, settings, LENGTHS, tmp_path / "store.jsonl")
    assert len({p.prior_logprobs[0] for p in found}) == 1
    codec, prior = model.codec, found[2].prior_logprobs[1]
    ids = codec.target_ids(requests[2].example.answer.options[1])
    segment = branched_segment(0, [*codec.before, *codec.between], [ids])
    assert prior == pytest.approx(float(model.log_probs(collate([Pack(64, [segment])])).sum()), abs=1e-5)
    assert found[0].prior_logprobs != found[0].logprobs
    plain = evaluate(model, requests, SETTINGS, LENGTHS, tmp_path / "plain.jsonl")
    assert {p.prior_logprobs for p in plain} == {()}


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_log_prob_that_is_not_finite_stops_and_names_the_row(value, model, tmp_path, monkeypatch):
    def broken(self, batch):
        values = torch.full((len(batch.labels),), -1.0)
        values[3] = value
        return values

    monkeypatch.setattr(HuggingFaceModel, "log_probs", broken)
    requests = requests_for([MOOD], {"mood": [choice_example(0, "Fine!", ("yes", "no"))]})
    with pytest.raises(ModelError, match=r"mood/test/0, template \w+: found log-prob (nan|-inf) for option 'no'"):
        evaluate(model, requests, SETTINGS, LENGTHS, tmp_path / "store.jsonl")
    assert not (tmp_path / "store.jsonl").exists()


def test_an_answer_that_goes_on_to_the_limit_is_marked(tmp_path):
    task = toy_task("name", "text", max_new_tokens=4, stop=("2",))
    requests = requests_for([task], {"name": [text_example(0, "Who?", ("Tom",))]})
    cut = evaluate(Parrot("3456789"), requests, SETTINGS, LENGTHS, tmp_path / "cut.jsonl")
    assert [p.at_limit for p in cut] == [True, True]
    for text in ("3", "3245678"):
        ended = evaluate(Parrot(text), requests, SETTINGS, LENGTHS, tmp_path / f"{text}.jsonl")
        assert [(p.text, p.at_limit) for p in ended] == [("3", False)] * 2


@pytest.mark.parametrize("num_processes", [2, 3, 5])
def test_parts_are_the_whole_each_prediction_once(num_processes, model, whole, tmp_path):
    store = tmp_path / "test.jsonl"
    for rank in range(num_processes - 1, 0, -1):
        assert evaluate(model, all_requests(), SETTINGS, LENGTHS, store, part=Part(rank, num_processes)) == []
    found = evaluate(model, all_requests(), SETTINGS, LENGTHS, store, part=Part(0, num_processes))
    assert found == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "test.jsonl",
        *(f"test.rank{rank}.jsonl" for rank in range(1, num_processes)),
    ]
    assert len(list(read_predictions(store))) == 36
    content = {path: path.read_bytes() for path in tmp_path.iterdir()}
    last = tmp_path / f"test.rank{num_processes - 1}.jsonl"
    last.write_bytes(content[last][:-7])  # killed while it wrote
    assert evaluate(model, all_requests(), SETTINGS, LENGTHS, store) == whole
    assert last.read_bytes() == content[last][:-7]


def test_a_part_that_is_missing_is_told(model, tmp_path):
    with pytest.raises(RunError, match=r"found \d+ of 36 predictions missing"):
        evaluate(model, all_requests(), SETTINGS, LENGTHS, tmp_path / "test.jsonl", part=Part(0, 2))
