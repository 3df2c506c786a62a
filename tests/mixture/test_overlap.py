import pytest

from openflan.mixture import overlap, shared_runs
from openflan.mixture.ngrams import normalise
from openflan.mixture.overlap import HeldOutTexts, Overlap, Scan, find_overlap
from openflan.tasks.example import Choice, Example, Text

PASSAGE = "The old mill by the river was sold to a baker from the next town."  # 15 words
SHARED = "the old mill by the river was sold to a baker from the next town"
FIRST_13 = "the old mill by the river was sold to a baker from the"
BOILERPLATE = "Read the text below with care and then choose the one answer that fits best."  # 15 words

HINDI = "\u0909\u0938\u0928\u0947 \u0906\u091c \u0936\u093e\u092e \u0915\u094b \u092e{}\u0932 \u092d\u0947\u091c\u093e"


def row(uid: str, **fields: str | tuple[str, ...]) -> Example:
    return Example(uid, uid.split("/")[0], fields, Choice(("yes", "no"), 0))


def test_the_same_row_under_other_field_names_and_order_is_found():
    train = [row("a/train/3", premise="Tom feeds the dog.", hypothesis="A dog eats.")]
    held_out = [
        row("b/test/0", sentence1="Ann sleeps.", sentence2="Ann rests all day."),
        row("b/test/1", x="A dog eats!", y="Tom feeds the DOG"),
    ]
    assert find_overlap(train, held_out) == [Overlap("a/train/3", "b/test/1", "a dog eats tom feeds the dog", "text")]


def test_a_shared_passage_is_found_beside_another_question():
    train = [row("a/train/0", passage=PASSAGE, question="Who bought it?")]
    held_out = [row("b/test/5", context=PASSAGE.upper(), claim="The mill burnt down.")]
    assert find_overlap(train, held_out) == [Overlap("a/train/0", "b/test/5", SHARED, "field")]


def test_a_passage_of_several_texts_counts_as_one():
    train = [row("a/train/0", sentences=("The old mill by the river", "was sold to a baker from the next town."))]
    assert [o.kind for o in find_overlap(train, [row("b/test/5", passage=PASSAGE)])] == ["text"]


def test_free_text_rows_are_compared_by_what_they_show():
    question = {"question": "Which river runs through Selm?"}
    train = [Example("a/train/0", "a", question, Text(("the Orr",)))]
    held_out = [Example("b/test/0", "b", question, Text(("Orr", "the Orr")))]
    assert [o.kind for o in find_overlap(train, held_out)] == ["text"]


def test_thirteen_words_in_a_row_within_longer_texts_are_found():
    train = [row("a/train/0", text=f"It rained. {PASSAGE} Then it snowed."), row("a/train/1", text="It rained.")]
    held_out = [row("b/test/5", passage=f"We know this: {PASSAGE} Who would have thought it?")]
    assert find_overlap(train, held_out) == [Overlap("a/train/0", "b/test/5", FIRST_13, "ngram")]


@pytest.mark.parametrize("answer", [Text(("Yes.", PASSAGE)), Choice(("It rained.", PASSAGE), 0)])
def test_a_held_out_answer_or_option_in_a_training_text_is_found(answer):
    held_out = [Example("b/test/5", "b", {"question": "What became of the mill?"}, answer)]
    train = [row("a/train/0", text=f"We read in the paper: {PASSAGE}")]
    assert find_overlap(train, held_out) == [Overlap("a/train/0", "b/test/5", FIRST_13, "ngram")]
    assert [o.train_uid for o in find_overlap(held_out, train)] == ["b/test/5"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"text": "yes"}, {"text": "yes"}),  # a word is no leak
        ({"question": "Is it true?"}, {"question": "Is it true?"}),  # 3 words
        ({"text": "One two three four."}, {"text": "One two three four."}),  # 4 of the 5 words needed
        ({"a": "Tom likes tea.", "b": "It is so."}, {"a": "Tom likes tea.", "b": "It is not so."}),
        ({"a": "a b c d e f g", "b": "one"}, {"a": "a b c d e f g", "b": "two"}),  # 7 of the 8 words of a field
        ({"a": "a b c d", "b": "e f g h i"}, {"a": "a b c d e f g h i j"}),  # 9 of 10, joined
        ({"a": f"x {' '.join('abcdefghijkl')} x"}, {"a": f"y {' '.join('abcdefghijkl')} y"}),  # 12 of 13
        ({"a": " ".join("abcdefghi")}, {"a": f"y {' '.join('abcdefghi')} y"}),  # 9 of the 10 of a whole text
        (
            {"text": "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002"},
            {"text": "\u4eca\u5929\u5929\u6c14\u5f88\u597d"},
        ),  # 6 letters, 3 words
        ({"text": HINDI.format("\u0947")}, {"text": HINDI.format("\u093e")}),  # mail, goods
    ],
)
def test_common_and_different_texts_are_no_overlap(ours, theirs):
    assert find_overlap([row("a/train/0", **ours)], [row("b/test/0", **theirs)]) == []


def test_at_the_limits_there_is_overlap():
    five, thirteen = "One two three four five.", " ".join("abcdefghijklm")
    eight, ten = " ".join("ABCDEFGH"), " ".join("zyxwvutsrq")
    train = [
        row("a/train/0", text=five),
        row("a/train/1", text=thirteen, other="x"),
        row("a/train/2", text=f"z {thirteen}"),
        row("a/train/3", text=eight, other="x"),
        row("a/train/4", text=f"z {ten} z"),
        row("a/train/5", text="Six words make a short question.", language="en"),
        row("a/train/6", text=five, language="en"),
    ]
    held_out = [row("b/test/0", text=five), row("b/test/1", text=thirteen, other="y"), row("b/test/2", text=five)]
    held_out += [row("b/test/3", text=eight, other="y"), row("b/test/4", text=ten, other="y")]
    held_out += [row("b/test/5", text="Six words make a short question?")]
    assert [(o.train_uid, o.held_out_uid, o.kind) for o in find_overlap(train, held_out)] == [
        ("a/train/0", "b/test/0", "text"),
        ("a/train/1", "b/test/1", "field"),
        ("a/train/2", "b/test/1", "ngram"),
        ("a/train/3", "b/test/3", "field"),
        ("a/train/4", "b/test/4", "ngram"),
        ("a/train/5", "b/test/5", "text"),
    ]


def made_up(num_words: int, *names: object) -> str:
    """Words that no other text has."""
    return " ".join(f"{'-'.join(map(str, names))}w{i}".replace("-", "x") for i in range(num_words))


@pytest.mark.parametrize("num_questions", [1, 5, 10, 11, 12, 15, 50])
@pytest.mark.parametrize("form", ["{p} {q}", "{q} {p}", "Passage: {p} Question: {q}", "{q} {p} {q}"])
def test_a_passage_and_a_question_in_one_field_are_found_however_many_questions_it_has(num_questions, form):
    passages = [made_up(size, "p", size) for size in (14, 29, 30, 80)]
    together = [
        row(f"a/train/{i}.{k}", text=form.format(p=passage, q=made_up(6, "q", i, k)))
        for i, passage in enumerate(passages)
        for k in range(num_questions)
    ]
    apart = [row(f"b/test/{i}", passage=passage, question=made_up(6, i)) for i, passage in enumerate(passages)]
    assert len(find_overlap(together, apart)) == 4 * num_questions
    assert len(find_overlap(apart, together)) == 4


def test_long_runs_are_never_boilerplate():
    for num_words, num_found in ((29, 0), (30, 40)):
        text = made_up(num_words, "common")
        train = [row(f"a/train/{i}", text=f"{made_up(3, i)} {text} {made_up(3, i, i)}") for i in range(40)]
        held_out = [row("b/test/0", text=f"So: {text} And so on.")]
        assert len(find_overlap(train, held_out)) == num_found
        assert len(find_overlap(held_out, train)) == num_found // 40
        same = [row(f"a/train/{i}", instruction=text, text=made_up(9, i)) for i in range(40)]
        assert len(find_overlap(same, [row("b/test/0", instruction=text, text="Other.")])) == num_found


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("joined", ["{0} {1}", "{1} {0}", "Premise: {0}. Hypothesis: {1}."])
def test_two_fields_joined_in_one_are_found(joined, turned):
    pair = made_up(10, "p"), made_up(6, "h")
    rows = [row("a/train/0", premise=pair[0], hypothesis=pair[1])], [row("b/test/0", text=joined.format(*pair))]
    train, held_out = rows[::-1] if turned else rows
    assert len(find_overlap(train, held_out)) == 1


def test_short_fields_joined_in_one_are_found():
    pair = "Tom fed the old dog.", "Some dog ate there."
    apart = [row("a/train/0", premise=pair[0], hypothesis=pair[1])]
    assert [o.kind for o in find_overlap(apart, [row("b/test/0", text=" ".join(pair))])] == ["field"]
    assert [o.kind for o in find_overlap(apart, [row("b/test/0", text=f"So: {' '.join(pair)} Yes?")])] == []
    longer = [row("a/train/0", premise=pair[0], hypothesis="Some dog ate there too.")]
    held_out = [row("b/test/0", text=f"So: {pair[0]} Some dog ate there too. Yes?")]
    assert [o.kind for o in find_overlap(longer, held_out)] == ["ngram"]


PASSAGE_ZH = "".join(chr(0x4E00 + 37 * i) for i in range(26))
PASSAGE_JA = "".join(chr(0x3042 + 2 * (i % 40)) + chr(0x5B57 + i) for i in range(13))
PASSAGE_TH = "".join(chr(0x0E01 + i) + "\u0e31" for i in range(26))


@pytest.mark.parametrize("passage", [PASSAGE_ZH, PASSAGE_JA, PASSAGE_TH], ids=["Chinese", "Japanese", "Thai"])
def test_texts_without_spaces_are_compared_letter_by_letter(passage):
    train = [row("a/train/0", text=f"\u597d\u597d\u597d{passage}\u4e66\u4e66")]
    assert [o.kind for o in find_overlap(train, [row("b/test/0", text=f"\u662f{passage}\u5927", q="\u5417")])] == [
        "ngram"
    ]
    assert find_overlap(train, [row("b/test/0", text=f"\u662f{passage[4:]}\u5927", q="\u5417")]) == []
    short = "".join(normalise(passage).split()[:10])
    assert [o.kind for o in find_overlap([row("a/train/0", t=short)], [row("b/test/0", t=f"{short}\u3002")])] == [
        "text"
    ]


@pytest.mark.parametrize(
    "hidden",
    [
        "The old mill by the ri\u00adver was sold to a ba\u200bker.",
        "The <b>old</b> mill<br />by the river was sold to a baker",
        "The old mill by the river&nbsp;was sold &#116;o a baker.",
        "THE OLD MILL by the\u2003river was sold to \uff41 baker\ufeff",
    ],
)
def test_what_nobody_sees_hides_no_leak(hidden):
    held_out = [row("b/test/0", text="The old mill by the river was sold to a baker.")]
    assert [o.kind for o in find_overlap([row("a/train/0", text=hidden)], held_out)] == ["text"]


@pytest.mark.parametrize("turned", [False, True], ids=["in training", "in held-out rows"])
def test_an_instruction_at_the_head_of_many_texts_is_boilerplate(turned):
    many = [row(f"a/train/{i}", text=f"{BOILERPLATE} It is about number {i}.") for i in range(11)]
    other = [row("b/test/0", text=f"{BOILERPLATE} It is about a mill.")]
    train, held_out = (other, many) if turned else (many, other)
    assert find_overlap(train, held_out) == []
    assert len(find_overlap(train[:10], held_out[:10])) == (1 if turned else 10)  # ten texts are not yet many
    scan = Scan(texts := HeldOutTexts(held_out))
    for example in train:
        scan.add(example)
    assert scan.overlaps() == []
    assert (texts.num_boilerplate, scan.num_boilerplate) == ((12, 0) if turned else (0, 11))  # of 8 words each


@pytest.mark.parametrize(("same", "counts"), [("So it goes again now.", False), ("So it goes and goes again.", True)])
def test_a_few_words_before_a_footer_are_no_leak(same, counts):
    def text(i: int, before: str) -> str:
        return f"Number {i} begins in its own way {i}. {before} {BOILERPLATE}"

    train = [row(f"a/train/{i}", text=text(i, f"So {i}")) for i in range(40)] + [row("a/train/40", text=text(40, same))]
    found = find_overlap(train, [row("b/test/0", text=f"Another thing altogether. {same} {BOILERPLATE}")])
    assert [o.train_uid for o in found] == (["a/train/40"] if counts else [])


@pytest.mark.parametrize("turned", [False, True], ids=["in training", "in held-out rows"])
def test_an_instruction_in_a_field_of_its_own_does_not_count_by_itself(turned):
    many = [row(f"a/train/{i}", instruction=BOILERPLATE, text=f"It is about number {i}.") for i in range(30)]
    other = [row("b/test/0", instruction=BOILERPLATE, text="It is about a mill.")]
    assert find_overlap(other, many) == [] if turned else find_overlap(many, other) == []
    leak = row("b/test/1", instruction=BOILERPLATE, text="It is about number 7.")
    assert [o.kind for o in find_overlap(many, [*other, leak])] == ["text"]


def test_a_passage_with_many_questions_is_one_text_and_counts():
    train = [row(f"a/train/{i}", passage=PASSAGE, question=f"What is number {i}?") for i in range(20)]
    train += [row(f"a/train/{i}", passage=f"Another story, number {i}.", question="Why?") for i in range(20, 60)]
    assert len(find_overlap(train, [row("b/test/0", text=f"Look: {PASSAGE}")])) == 20
    assert len(find_overlap(train, [row("b/test/0", text=PASSAGE)])) == 20


def test_boilerplate_hides_no_equal_text():
    train = [row(f"a/train/{i}", text=f"{BOILERPLATE} It is about number {i}.") for i in range(40)]
    leak = [row("b/test/3", text=f"{BOILERPLATE} It is about number 7.")]
    assert [(o.train_uid, o.kind) for o in find_overlap(train, leak)] == [("a/train/7", "text")]


def test_boilerplate_is_a_matter_of_each_dataset():
    train = [row(f"{task}/train/{i}", text=f"{PASSAGE} {task} {i}") for task in "ab" for i in range(8)]
    assert len(find_overlap(train, [row("c/test/0", text=f"Look: {PASSAGE}")])) == 16


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_the_result_does_not_depend_on_how_many_rows_are_looked_at_together(monkeypatch, chunk):
    monkeypatch.setattr(overlap, "CHUNK_CHARACTERS", chunk)
    monkeypatch.setattr(shared_runs, "CHUNK_CHARACTERS", chunk)
    words = [f"w{i}" for i in range(700)]
    held_out = [row(f"b/test/{i}", text=" ".join(words[i * 60 : i * 60 + 40])) for i in range(10)]
    train = [row(f"a/train/{i}", text=" ".join(words[i * 17 : i * 17 + 30]), more="Ann.") for i in range(30)]
    found = find_overlap(train, held_out)
    assert [o.train_uid for o in found] == [
        uid
        for uid, text in ((e.uid, e.fields["text"].split()) for e in train)
        if any(" ".join(text[i : i + 13]) in e.fields["text"] for i in range(18) for e in held_out)
    ]
    assert 5 < len(found) < 30


def test_equal_numbers_are_no_proof(monkeypatch):
    monkeypatch.setattr(shared_runs.TextIndex, "find", lambda self, numbers: (numbers[:1].astype("int64") * 0,) * 2)
    held_out = [row("b/test/0", text=PASSAGE)]
    assert find_overlap([row("a/train/0", text=BOILERPLATE)], held_out) == []


def test_nothing_held_out_and_nothing_trained_on():
    assert find_overlap([row("a/train/0", text=PASSAGE)], []) == []
    assert find_overlap([], [row("b/test/0", text=PASSAGE)]) == []
