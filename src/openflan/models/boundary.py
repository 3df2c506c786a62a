"""The ids before a prompt, between prompt and target, and after the target: the same as in the whole text.

Each part is encoded by itself and never merged with its neighbour (`docs/decisions/002-one-boundary-rule.md`). Some
tokenizers put a space before every text that they are given, which is right at the start of a text and wrong in the
middle of one. So for each part a few ways to encode it are tried, and the first one is taken whose ids, put together,
are the ids of the whole text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from openflan.errors import ModelError
from openflan.models import chat_template
from openflan.models.tokenizer_limits import Limit

Encoder = Callable[[Sequence[str]], list[list[int]]]
"""The ids of each text, without special tokens; a special token that is written out in a text is text."""
TEMPLATE_DATE = datetime(2024, 7, 26)
"""The date that a chat template is given, always the same, so that a prompt does not change from day to day."""
_DIRECTIVES = "".join(
    f"|replace('%{form}','{TEMPLATE_DATE.strftime(f'%{form}')}')"
    for form in (*"aAbBcdDeFHIjmMpSTuUwWxXyYZz", "-d", "-m", "f")
)
# Takes the place of transformers' function of that name. The end keeps a template's own first line break.
_FIXED_DATE = f"{{% macro strftime_now(format) %}}{{{{ format{_DIRECTIVES} }}}}{{% endmacro %}}{{{{ '' }}}}"
LEADS = ("\n", ":")
PROBES = ("b", "Yes", "7", "the cat")
_USER, _ASSISTANT = "Zebra-user-0417", "Quartz-assistant-9263"  # found again in what a chat template writes


@dataclass(frozen=True, slots=True)
class Parts:
    """The ids around prompt and target, and how each of the two is encoded; see `Codec`.

    `leads` names the ways in which prompt and target are encoded, for a fingerprint.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]
    encode_prompts: Encoder
    encode_targets: Encoder
    leads: tuple[str, str] = ("", "")


def plain_parts(tokenizer: PreTrainedTokenizerBase, encode: Encoder, separator: str | None, where: Path) -> Parts:
    """What the tokenizer itself puts before a text, the separator (None: the end-of-text id) and the end-of-text id."""
    eos = (int(tokenizer.eos_token_id),)
    encoded = Limit(tokenizer, where)(lambda: tokenizer("a", return_special_tokens_mask=True))
    marked = zip(encoded.input_ids, encoded.special_tokens_mask, strict=True)
    before = tuple(i for i, _ in takewhile(lambda pair: pair[1], marked))
    if separator is None:
        return Parts(before, eos, eos, encode, encode)

    def ids(text: str) -> list[int]:
        return encode([text])[0]

    between, lead = _joint(ids, encode, "a", separator)
    if (not between and separator.strip(" ")) or tokenizer.unk_token_id in between:
        found = f"a tokenizer without ids for the separator {separator!r}: prompt and answer would touch"
        do = "Give another one, as `model.separator` in a recipe or --separator to eval, such as ' : ' or '<eos>'."
        raise ModelError(where, found, "a separator that it knows", do)
    return Parts(before, tuple(between), eos, encode, continued(encode, lead), ("", lead))


def chat_parts(tokenizer: PreTrainedTokenizerBase, encode: Encoder, where: Path) -> Parts:
    """What the chat template writes before the user's text, between it and the assistant's, and to end the latter.

    The end goes up to the first special token after the assistant's text: the one that ends the turn. Where there is
    none it is the end-of-text id.
    """
    head, middle, tail = _written(tokenizer, where)
    limit = Limit(tokenizer, where)

    def ids(text: str) -> list[int]:  # the template's own special tokens are meant as such
        if not text:
            return []
        encoded = limit(lambda: tokenizer(text, add_special_tokens=False, split_special_tokens=False))
        return list(encoded.input_ids)

    before, user_lead = _joint(ids, encode, "", head)
    between, target_lead = _joint(ids, encode, f"{head}b", middle)
    eos = int(tokenizer.eos_token_id)
    added = tokenizer.added_tokens_decoder.items()
    ends = {eos, *(i for i, token in added if token.special or token.content.strip())}
    after = _following(ids, f"{head}b{middle}b", tail)
    last = next((i for i, token in enumerate(after) if token in ends), None)
    end = (eos,) if last is None else tuple(after[: last + 1])
    prompts, targets = continued(encode, user_lead), continued(encode, target_lead)
    return Parts(tuple(before), tuple(between), end, prompts, targets, (user_lead, target_lead))


def continued(encode: Encoder, lead: str) -> Encoder:
    """Encode texts as they go on behind `lead`, of which nothing is left; as they are where the two would merge."""
    if not lead:
        return encode
    start = encode([lead])[0]

    def behind(texts: Sequence[str]) -> list[list[int]]:
        found = encode([lead + text if text else "" for text in texts])
        merged = [text for text, ids in zip(texts, found, strict=True) if text and ids[: len(start)] != start]
        alone = dict(zip(merged, encode(merged), strict=True))
        return [
            alone[text] if text in alone else ids[len(start) :] if text else []
            for text, ids in zip(texts, found, strict=True)
        ]

    return behind


def _joint(ids: Callable[[str], list[int]], encode: Encoder, start: str, fixed: str) -> tuple[list[int], str]:
    """The ids of `fixed`, which stands behind `start`, and the lead with which to encode what comes after it.

    A tokenizer that writes a space and the word behind it as one token has the last space of `fixed` there.
    """
    shorter = fixed.removesuffix(" ")
    ways = [(fixed, ""), *((fixed, lead) for lead in LEADS), *([(shorter, "")] if shorter != fixed else [])]
    for text, lead in ways:
        found, encoded = _following(ids, start, text), continued(encode, lead)(PROBES)
        if all(
            _following(ids, start, fixed + probe) == [*found, *each]
            for probe, each in zip(PROBES, encoded, strict=True)
        ):
            return found, lead
    return _following(ids, start, fixed), ""


def _following(ids: Callable[[str], list[int]], start: str, text: str) -> list[int]:
    """The ids of `text` behind `start`; those of `text` alone where the two would merge."""
    before, both = ids(start), ids(start + text)
    return both[len(before) :] if both[: len(before)] == before else ids(text)


def _written(tokenizer: PreTrainedTokenizerBase, where: Path) -> tuple[str, str, str]:
    """What the chat template writes before the user's text, between it and the assistant's, and after that."""
    do = "Leave model.chat_template out, or use a chat model's folder."
    if not tokenizer.chat_template:
        raise ModelError(where, "a tokenizer without a chat template", "one with it", do)
    talk = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ASSISTANT}]
    template = str(tokenizer.get_chat_template())
    if "strftime_now" in template:
        template = _FIXED_DATE + template
    try:
        date = TEMPLATE_DATE.strftime("%d %b %Y")
        text = chat_template.render(template, talk, **tokenizer.special_tokens_map, date_string=date)
    except ValueError as exc:
        found = " ".join(str(exc).split())[:300]
        raise ModelError(where, f"a chat template that fails ({found})", "one for a user and an assistant", do) from exc
    if text.count(_USER) != 1 or text.count(_ASSISTANT) != 1 or text.index(_USER) > text.index(_ASSISTANT):
        found = "a chat template that changes, repeats or leaves out the texts it is given"
        raise ModelError(where, found, "one that writes the user's text and then the assistant's, each once", do)
    head, _, rest = text.partition(_USER)
    middle, _, tail = rest.partition(_ASSISTANT)
    return head, middle, tail
