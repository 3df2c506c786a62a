"""Chat templates of strangers: a little time, a little memory, one clear error."""

import time
from pathlib import Path

import pytest

from openflan.errors import ModelError
from openflan.models import chat_template
from openflan.models.tokenizer import codec_of, train_tokenizer
from toys import TEXTS

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set n = namespace(x='ab') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
TOO_MUCH = {
    "{{ 'a' * 10 ** 10 }}": "it takes too much memory",
    DOUBLED: "it takes too much memory|not finished",  # on a busy machine it does not get that far
    "{{ 'a' * 2000000 }}": "it writes 2,000,000 characters; at most 1,000,000",
    "{{ raise_exception('no system text') }}": "no system text",
}


def test_a_template_sees_the_talk_and_the_values():
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}é"
    assert chat_template.render(template, TALK, bos_token="<s>") == "<s>[user] Hi\n[assistant] Yes\né"


@pytest.mark.parametrize("template", TOO_MUCH)
def test_too_much_is_one_error(template):
    with pytest.raises(ValueError, match=TOO_MUCH[template]):
        chat_template.render(template, TALK)


def test_a_tokenizer_with_an_endless_template_is_refused_in_time(monkeypatch):
    monkeypatch.setattr(chat_template, "SECONDS", 2.0)
    tokenizer = train_tokenizer(TEXTS, 300)
    tokenizer.chat_template = ENDLESS
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"a chat template that fails \(not finished after 2 seconds\)"):
        codec_of(tokenizer, Path("x"), chat_template=True)
    assert time.monotonic() - began < 5
