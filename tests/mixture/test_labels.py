from collections import Counter

from openflan.mixture.labels import shuffle_answers
from openflan.tasks.example import Choice, Example, Text


def test_shuffled_choices_keep_options_and_frequencies_and_lose_their_rows():
    golds = [0] * 600 + [1] * 300 + [2] * 100
    examples = [Example(f"t/train/{i}", "t", {"text": "x"}, Choice(("a", "b", "c"), g)) for i, g in enumerate(golds)]
    shuffled = shuffle_answers(examples, seed=0)
    after = [example.answer.gold for example in shuffled]
    assert Counter(after) == {0: 600, 1: 300, 2: 100}
    assert [e.uid for e in shuffled] == [e.uid for e in examples]
    assert {e.answer.options for e in shuffled} == {("a", "b", "c")}
    kept = sum(a == b for a, b in zip(after, golds, strict=True))
    assert 410 < kept < 510  # .6 * .6 + .3 * .3 + .1 * .1 = .46 by chance
    assert shuffle_answers(examples, seed=1) != shuffled
    other = [Example("u/train/0", "u", {"text": "x"}, Choice(("a", "b", "c"), 1))]
    assert shuffle_answers([*other, *examples], seed=0)[1:] == shuffled  # another task changes nothing


def test_golds_among_a_row_s_own_options_keep_their_positions():
    examples = [
        Example(f"t/train/{i}", "t", {"text": "x"}, Choice(tuple(f"{i} {k}" for k in range(2 + i % 2)), i % 4 // 2))
        for i in range(400)
    ]
    shuffled = shuffle_answers(examples, seed=0)
    assert [e.answer.options for e in shuffled] == [e.answer.options for e in examples]
    for num_options in (2, 3):
        some = [e.answer.gold for e in shuffled if len(e.answer.options) == num_options]
        assert Counter(some) == {0: 100, 1: 100}  # never the third, which was never right
    kept = sum(a.answer.gold == b.answer.gold for a, b in zip(shuffled, examples, strict=True))
    assert 160 < kept < 240


def test_golds_of_few_rows_alike_are_drawn_evenly():
    def rows(num):
        return [
            Example(f"t/train/{k}.{i}", "t", {"text": "x"}, Choice(tuple(f"{k}{i}{j}" for j in range(k)), 0))
            for k in range(2, 402)
            for i in range(num)
        ]

    golds = [example.answer.gold for example in shuffle_answers(rows(1), seed=0)]
    assert sum(gold == 0 for gold in golds) < 20 and max(golds) > 300
    assert {example.answer.gold for example in shuffle_answers(rows(10)[:100], seed=0)} == {0}


def test_shuffled_texts_stay_within_their_task():
    examples = [
        Example(f"{task}/train/{i}", task, {"text": f"{i}"}, Text((f"{task} {i}", f"{task} {i}, too")))
        for i in range(50)
        for task in ("s", "t")
    ]
    shuffled = shuffle_answers(examples, seed=0)
    for task in ("s", "t"):
        before = [e.answer for e in examples if e.task == task]
        after = [e.answer for e in shuffled if e.task == task]
        assert sorted(a.references for a in after) == sorted(b.references for b in before)
        assert sum(a == b for a, b in zip(after, before, strict=True)) < 10
    alone = shuffle_answers([e for e in examples if e.task == "s"], seed=0)
    assert alone == [e for e in shuffled if e.task == "s"]
