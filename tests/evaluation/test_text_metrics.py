"""Literal cases. Those of DROP and BLEU were computed with the official script and with sacrebleu."""

from functools import partial

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from openflan.evaluation.text_metrics import (
    bleu_counts,
    bleu_of_counts,
    bleu_signature,
    bleu_tokenizer,
    drop_exact_match,
    drop_f1,
    edit_similarity,
    exact_match,
    exact_text,
    f1,
    normalise,
    rouge,
    squad_v2_exact_match,
    squad_v2_f1,
)


def test_normalisation_is_squads() -> None:
    assert normalise("The  Eiffel-Tower, in a park.") == "eiffeltower in park"
    assert normalise("Another theatre") == "another theatre"  # articles are whole words
    assert normalise("a.n. 'the'") == ""  # punctuation goes before articles
    assert (
        normalise("\u201ca\u201d \u2013 caf\u00e9") == "\u201c \u201d \u2013 caf\u00e9"
    )  # only ASCII punctuation goes


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "words"),
    [
        ("The Denver Broncos!", "Denver Broncos", 1.0, 1.0),
        ("Denver", "the Denver Broncos", 0.0, 2 / 3),  # precision 1, recall 1/2
        ("in the year 1066", "1066", 0.0, 0.5),  # precision 1/3, recall 1
        ("red red blue", "red green", 0.0, 0.4),  # a repeated word counts as often as both have it
        ("no", "yes", 0.0, 0.0),
        ("the", "a", 0.0, 0.0),  # normalising would delete both whole
        ("the", "cat", 0.0, 0.0),
        ("", "cat", 0.0, 0.0),
    ],
)
def test_squad_scores_computed_by_hand(answer: str, reference: str, exact: float, words: float) -> None:
    assert exact_match(answer, reference) == exact
    assert f1(answer, reference) == pytest.approx(words)


@pytest.mark.parametrize(
    ("answer", "reference", "squad_v2"),
    [
        ("Unanswerable.", "unanswerable", 1.0),
        ("", "unanswerable", 1.0),  # SQuAD 2.0's own form of no answer
        ("unanswerable question", "unanswerable", 0.0),  # any answer to a question without one is wrong
        ("the answer is unanswerable", "unanswerable", 0.0),
        ("unanswerable", "Denver", 0.0),
        ("Denver", "Denver Broncos", 2 / 3),
    ],
)
def test_no_answer_is_all_or_nothing(answer: str, reference: str, squad_v2: float) -> None:
    assert squad_v2_f1(answer, reference) == pytest.approx(squad_v2)
    assert squad_v2_exact_match(answer, reference) == float(squad_v2 == 1)


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "words"),
    [
        ("5.0", "5", 1.0, 1.0),
        ("$5", "5", 1.0, 1.0),
        ("6", "5", 0.0, 0.0),
        ("5 yards", "5-yard", 0.0, 0.5),
        ("about 1,250 people", "1250", 0.0, 0.5),
        ("a 12-yard pass", "12-yard touchdown pass", 0.0, 0.86),
        ("13-yard touchdown pass", "12-yard touchdown pass", 0.0, 0.0),  # not the number
        ("Brenn, Tolle", "Tolle, Brenn", 1.0, 1.0),
        ("Brenn", "Brenn, Tolle", 0.0, 0.5),
        ("Tolle, Tolle", "Tolle", 0.0, 0.5),
        ("3 yards, Tolle", "Tolle, the 3-yard line, Osta", 0.0, 0.47),
        ("red house, big red house", "big red house, red barn", 0.0, 0.75),  # the best alignment, not the first
        ("the first Tolle house", "Tolle", 0.0, 0.5),
        ("", "5", 0.0, 0.0),
    ],
)
def test_drop_as_its_official_script_scores(answer: str, reference: str, exact: float, words: float) -> None:
    assert drop_exact_match(answer, reference) == exact
    assert drop_f1(answer, reference) == words


def test_rouge_computed_by_hand() -> None:
    # "the cat sat" and "the cat ate fish": 2 common words of 3 and 4; bigrams: 1 of 2 and 3
    assert rouge("rouge1", "the cat sat", "the cat ate fish") == pytest.approx(4 / 7)
    assert rouge("rouge2", "the cat sat", "the cat ate fish") == pytest.approx(2 / 5)
    assert rouge("rougeL", "the cat sat", "the cat ate fish") == pytest.approx(4 / 7)
    # order matters to rougeL alone: the longest common subsequence of "b a" and "a b" is one word
    assert rouge("rouge1", "b a", "a b") == 1.0
    assert rouge("rougeL", "b a", "a b") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("answer", "reference", "similarity"),
    [
        ("kitten", "sitting", 1 - 3 / 7),
        ("Where is it", "Where is it?", 1 - 1 / 12),
        (" same ", "same", 1.0),
        ("abc", "", 0.0),
        ("", "", 1.0),
        ("abc", "xyz", 0.0),
    ],
)
def test_edit_similarity_computed_by_hand(answer: str, reference: str, similarity: float) -> None:
    assert edit_similarity(answer, reference) == pytest.approx(similarity)


SAID = ["The dog bit the man.", "It was not surprising.", "The man bit him first."]
MEANT = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
OR_MEANT = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]


def test_bleu_of_summed_counts_is_sacrebleus() -> None:
    assert bleu_counts("a cat sat on the mat", ("the cat sat on the mat",)) == (5, 4, 3, 2, 6, 5, 4, 3, 6, 6)
    rows = [bleu_counts(*pair) for pair in zip(SAID, zip(MEANT, strict=True), strict=True)]
    assert bleu_of_counts([sum(column) for column in zip(*rows, strict=True)]) == pytest.approx(0.8388008073998816)
    # several references, of other lengths; a sentence shorter than four words and an empty one; nothing in common
    both = list(zip([*MEANT, "two words", "", "x"], [*OR_MEANT, "a", "b c", "y"], strict=True))
    said = [*SAID, "two words", "", "z"]
    rows = [bleu_counts(*pair) for pair in zip(said, both, strict=True)]
    expected = BLEU().corpus_score(said, [list(column) for column in zip(*both, strict=True)]).score / 100
    assert 0.1 < expected < 0.9
    assert bleu_of_counts([sum(column) for column in zip(*rows, strict=True)]) == pytest.approx(expected, abs=1e-12)
    assert bleu_of_counts(bleu_counts("z", ("x",))) == 0.0
    # no 4-gram and no trigram in common: smoothed, not 0
    counts = bleu_counts("the cat sat on mat", ("the cat is on a mat",))
    assert bleu_of_counts(counts) == pytest.approx(0.2080119537801062)


def test_the_signature_names_everything_that_decides_bleu() -> None:
    assert bleu_signature(1).startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.")
    assert bleu_signature(3).startswith("nrefs:3|")
    assert bleu_signature(None).startswith("nrefs:var|")


TEXTS = (
    *(
        "He said: yes.",
        "A",
        "the",
        "?",
        "C++",
        "-7",
        "3.5",
        "Élan",
        "é",
        "naïve café",
        "Мы долго шли.",
        "हम पहाड़ पर चले।",
    ),
    *(
        "我们在山上走了很久。",
        "山",
        "東京へ行く",
        "เราเดินบนภูเขา",
        "السلام عليكم",
        "שלום",
        "👍",
        "—",
        "Ω",
        "한국어 문장",
    ),
)


@pytest.mark.parametrize("text", TEXTS)
def test_every_reference_earns_1_for_itself_and_an_empty_answer_nothing(text: str) -> None:
    metrics = [exact_text, exact_match, f1, squad_v2_f1, squad_v2_exact_match, drop_exact_match, drop_f1]
    metrics += [edit_similarity, partial(rouge, "rouge1"), partial(rouge, "rougeL")]
    assert [metric(text, text) for metric in metrics] == [1.0] * 10
    assert [metric("", text) for metric in metrics] == [0.0] * 10


@pytest.mark.parametrize(("answer", "reference"), [("!", "?"), ("the", "A"), ("मेल", "माल"), ("B", "A"), ("👎", "👍")])
def test_texts_that_normalising_would_delete_or_take_for_equal_differ(answer: str, reference: str) -> None:
    assert (exact_match(answer, reference), f1(answer, reference), rouge("rougeL", answer, reference)) == (0, 0, 0)


def test_rouge_and_f1_of_scripts_without_spaces_compare_characters() -> None:
    assert rouge("rouge1", "我们在山下", "我们在山上。") == pytest.approx(0.8)
    assert f1("山上", "在山上") == pytest.approx(0.8)
    assert rouge("rouge1", "Мы шли домой", "мы долго шли!") == pytest.approx(2 / 3)


def test_rouge_of_english_reads_what_rouge_score_reads() -> None:
    scorer = RougeScorer(["rouge1", "rougeL"])
    for answer, reference in [
        ("naïve cafe", "A naïve café in 北京"),
        ("Łódź is a city", "The city of Łódź"),
        ("京", "a 京"),
    ]:
        for name, score in scorer.score(reference, answer).items():
            assert rouge(name, answer, reference) == score.fmeasure


def test_bleu_cuts_a_text_by_the_script_of_the_references() -> None:
    assert bleu_tokenizer(["我们在山上", "Yes", "他说了话"]) == "zh"
    assert bleu_tokenizer(["東京へ行く"]) == bleu_tokenizer(["เราเดิน"]) == "char"
    assert bleu_tokenizer(["Мы шли", "He went"]) == bleu_tokenizer([]) == "13a"
    text = "我们在山上走了很久。"
    assert bleu_of_counts(bleu_counts(text, (text,), "zh")) == pytest.approx(1)
    assert "|tok:zh|" in bleu_signature(1, "zh")
