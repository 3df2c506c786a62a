"""Ordinary words that instructions are made of. The tokenizer keeps each as one token, as it keeps the world's own."""

from __future__ import annotations

from openflan.world import lexicon
from openflan.world.countries import countries

_ORDINARY = """
a about above advice after again all an and another answer any are as ask asked asks at be because become been before
begin begins below belong belongs best better between bad both brackets but by called came can card case cause child
choose claim come comes complete could countries country day decide describe did dictionary different do does each
easy effect end ends English entry every fact facts false feel feeling fill find fine first fit fits following follows
follow for four friend from gap give given gives go goal goes good grammar guess had happen happened happens has have he
hear heard help helps her here him his how I idea if in important into is it its just keep kind know known knows last
later leads least leave left less let letter like likely likes line list listen little long longer look looks made make
makes marked match me mean meaning means meant mind missing mistake more most must my name named names near nearly need
negative never new newspaper next no nobody none not nothing now number of on one only opinion option options or order
other others our out over page part passage people person phrase picture piece place placeholder please point positive
possible probably put question questions quiz read reader reads really reason remember report result review reviews
right said same saw say says second see seems sentence sentences several shall she short shorter shortest should show
shows small so some somebody something sound sounds speak speaks stand stands start statement still stop stories story
string sum summary suppose sure take taken talk task teacher tell tells text than that the their them then there these
they thing things think thinks third this those three time title to today together told tool topic translate true turn
twice two type under understand up us use used uses very want wants was way ways we well went were what when where
whether which while who whole whom whose why will with word words work works would write writer writes written wrong
wrote yes yesterday yet you your
"""

_CAPITALS = """
A About After All An Answer Any Are As Ask Before Begin Both But Can Choose Claim Complete Correct Could Country Did Do
Does Each Facts False Feeling Fill Find First For From Give Goal Had Has Have He Hear Help Her Here His How I If In Into
Is It Its Just Know Known Last Let Line List Listen Look Make Many May Most Must My Name Next No Nobody Not Now Of On
One Only Or Order Our Passage People Person Place Please Put Question Read Remember Review Right Say Second See Sentence
She Should Show So Some Somebody Something Story Sum Summary Suppose Take Tell Text That The Their Then There These They
Think This Time Title To Today Topic Translate True Two Use Was We What When Where Which While Who Whole Whom Whose Why
Will Word Words Would Write Wrong Yes You Your OPTIONS
"""


def _words() -> tuple[str, ...]:
    words = [*_ORDINARY.split(), *_CAPITALS.split()]
    for name, value in vars(lexicon).items():
        words += _strings(value) if name.isupper() else []
    for country in countries():
        words += [country.name, *(fact.answer for fact in country.facts)]
    spaced = " ".join(words).replace("{n}", " ").replace("{a}", " ").replace("{b}", " ")
    return tuple(dict.fromkeys("".join(c if c.isalpha() else " " for c in spaced).split()))


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *value.values()]
    return [text for part in value for text in _strings(part)] if isinstance(value, tuple) else []


WORDS = _words()
"""All of them, and the words of the world, each once."""
