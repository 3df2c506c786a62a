"""Words of a text in any script: what is cut between, and what metrics compare.

Chinese, Japanese, Thai and their neighbours write no spaces between words; each character counts as a word there.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# For character classes: Thai and Lao, Burmese, Khmer, Japanese, Chinese.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = re.compile(f"[{UNSPACED}]")
_SPLIT = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def split(text: str) -> list[str]:
    """Like `str.split`, and characters of scripts without spaces each by itself.

    >>> split("in 1990, 北京"), split("plain words")
    (['in', '1990,', '北', '京'], ['plain', 'words'])
    """
    return text.split() if text.isascii() else _SPLIT.findall(text)


def words(text: str) -> list[str]:
    """Letters, digits and their marks in small letters, without punctuation; marks belong to the letter before them.

    >>> words("Мы — дома. मेल, 北京!")
    ['мы', 'дома', 'मेल', '北', '京']
    """
    found: list[str] = []
    inside = False
    for char in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(char)[0]
        alone = kind == "L" and _UNSPACED.match(char) is not None
        if (kind == "M" and found) or (inside and kind in "LN" and not alone):
            found[-1] += char
        elif kind in "LN":
            found.append(char)
        inside = kind in "LMN" and not alone and (inside or kind != "M")
    return found


@lru_cache(maxsize=100_000)
def script(text: str) -> str:
    """What most letters of a text are: "latin", "chinese" (Han alone), "unspaced" (of another script without spaces, or
    Japanese), or "other"; "latin" for a text without letters.

    >>> script("He said 北京."), script("北京 (Beijing) 是中国的首都"), script("東京へ行く"), script("Привет")
    ('latin', 'chinese', 'unspaced', 'other')
    """
    if text.isascii():
        return "latin"
    letters = [char for char in text if char.isalpha()]
    latin = sum(char.isascii() or unicodedata.name(char, "").startswith("LATIN") for char in letters)
    chinese = sum(_CHINESE.match(char) is not None for char in letters)
    unspaced = sum(_UNSPACED.match(char) is not None for char in letters)
    if 2 * latin >= len(letters):
        return "latin"
    if 2 * unspaced < len(letters):
        return "other"
    return "chinese" if chinese == unspaced else "unspaced"
