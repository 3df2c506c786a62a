import pytest
from hypothesis import given
from hypothesis import strategies as st

from openflan.mixture.ngrams import ngrams, normalise

WORDS = st.lists(st.sampled_from(["a", "b", "cc", "d\u00e9", "x_1"]), max_size=9).map(" ".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom  LIKES\ttea.", "tom likes tea"),
        ("\uff34om likes te\u0301a", "tom likes t\u00e9a"),
        ("Stra\u00dfe, strasse", "strasse strasse"),
        ("a_b-c 1.5\x7f\x00", "a_b c 1 5"),
        ("...", ""),
        ("co\u00adoperate with\u200bout", "cooperate without"),
        ("a<br />b &amp; c &lt; d", "a b c d"),
        ("3 < 4 and 5 > 4", "3 4 and 5 4"),
        (
            "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f \u0643\u0640\u062a\u0628",
            "\u0645\u062d\u0645\u062f \u0643\u062a\u0628",
        ),  # Arabic vowels
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd"),  # Hebrew points
        ("\u092e\u0947\u0932 \u092e\u093e\u0932", "\u092e\u0947\u0932 \u092e\u093e\u0932"),  # Hindi vowel signs stay
        ("\u597d\u4e66\u3002A4\u7eb8", "\u597d \u4e66 a4 \u7eb8"),
        ("\u0e01\u0e47\u0e14\u0e35", "\u0e01\u0e47 \u0e14\u0e35"),  # Thai: a letter with its marks
        ("\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8", "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8"),  # Korean has spaces
        ("", ""),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected
    assert normalise(text + "\u2019") == expected  # the slow way, for what is not ASCII, comes to the same


@given(texts=st.lists(WORDS, max_size=6), n=st.integers(1, 4))
def test_ngrams_are_those_of_a_plain_loop(texts, n):
    found = ngrams(texts, n)
    plain = [
        (t, " ".join(words[i : i + n]))
        for t, words in enumerate(text.split() for text in texts)
        for i in range(len(words) - n + 1)
    ]
    assert [(int(t), found.words(i).decode()) for i, t in enumerate(found.text)] == plain
    numbers = {}
    for number, (_, words) in zip(found.number.tolist(), plain, strict=True):
        assert numbers.setdefault(words, number) == number
    assert len(set(numbers.values())) == len(numbers)


def test_a_number_depends_on_the_words_alone():
    alone = ngrams(["the cat sat"], 3).number
    later = ngrams(["much came before this", "and then the cat sat down"], 3)
    assert alone[0] in later.number.tolist()
    assert alone[0] not in ngrams(["cat the sat", "the cat sit", "the cats at"], 3).number.tolist()
