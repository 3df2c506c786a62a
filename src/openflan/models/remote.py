"""A model behind an OpenAI-compatible completions server, seen as any other `LanguageModel`.

Prompts go there as token ids, so the one boundary rule holds and what is scored is what a local model would score. The
log-probabilities are those that the server gives back for its own prompt (`echo` with `logprobs`, as vLLM does it).
A server that does not give them only generates. One that takes no ids either gets texts and cuts them into tokens by
itself; which of all this a server does is found out when it is first asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openflan.errors import ModelError, did_you_mean
from openflan.models.folder import EMBEDDED, end_ids
from openflan.models.server import CONNECT_S, PASSING, Reply, Server
from openflan.models.tokenizer import codec_of, load_tokenizer
from openflan.streams import fingerprint
from openflan.tokens.batch import Batch
from openflan.tokens.codec import Codec

LONGEST_NAME = 200
PROBE = "Zoë's bill of 1984: $12.50!\n\n    print(x ** 2)  # naïve, Привет, 東京 🙂"
"""A text that two tokenizers will hardly cut alike."""
Prompt = str | Sequence[int]
SCORED: dict[str, Any] = {"max_tokens": 1, "echo": True, "logprobs": 1}
"""One new token, which is ignored: none at all means "as many as you like" to llama-cpp-python."""
MOST = 1 << 30
"""Positions, where a server does not tell how many it has."""
MAX_ID = 1 << 31
ROUNDED_ZERO = 1e-3
"""No log-probability is as high: above 0 it is wrong by more than rounding."""
LOWEST = -9999.0
"""What vLLM writes for minus infinity, which JSON does not have."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What a server does. `ranks`: gives the log-probabilities of a prompt. `takes_ids`: takes a prompt as ids.
    `takes_additions`: does not mind what vLLM adds to OpenAI's protocol."""

    ranks: bool
    takes_ids: bool
    takes_additions: bool

    def __str__(self) -> str:
        if self.ranks:
            return "prompts as token ids, with their log-probabilities"
        prompts = "prompts as token ids" if self.takes_ids else "prompts as text, which it cuts into tokens by itself"
        return f"{prompts}; no log-probabilities of them: generation only, options cannot be ranked"


class RemoteModel:
    """The model `name` of a server; see `load_remote`.

    `max_positions` is the longest sequence to score, where the server tells. `fingerprint` stands for the weights,
    which cannot be seen from here: it is made of the address, the name, the folder that the server says it serves, and
    the tokenizer.
    """

    def __init__(
        self, server: Server, name: str, codec: Codec, ways: Ways, root: str = "", max_positions: int = MOST
    ) -> None:
        self.server = server
        self.name = name
        self.codec = codec
        self.ways = ways
        self.max_positions = max_positions
        self.fingerprint = fingerprint([server.url, name, root, codec.fingerprint])

    def log_probs(self, batch: Batch) -> Tensor:
        """See LanguageModel. Each branch is sent with all that it continues, as one sequence; equal ones are sent once.

        ModelError: a server that gives no log-probabilities, or others than were asked for. RunError: it went away.
        """
        if not self.ways.ranks:
            found = "a server that gives no log-probabilities of a prompt"
            do = "Serve the model with vLLM, or evaluate it on tasks with free-text answers."
            raise ModelError(self.server.url, found, "them, to rank the options of a task", do)
        paths = [(tuple(ids), places) for ids, places in batch.paths()]
        different = list(dict.fromkeys(ids for ids, _ in paths))
        replies = self._complete(different, SCORED)
        scored = {ids: self._prompt_log_probs(reply, ids) for ids, reply in zip(different, replies, strict=True)}
        log_probs = torch.empty(len(batch.labels))
        for ids, places in paths:
            log_probs[places] = torch.tensor(scored[ids][-len(places) :])
        return log_probs

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[list[int]]:
        """See LanguageModel. Where the server gives only text, its ids are what the tokenizer makes of that text."""
        additions = _additions(self.codec) if self.ways.takes_additions else {}
        if additions and stop:  # OpenAI takes no more than four, and `transformers serve` fails on any
            additions["stop"] = list(stop)
        replies = self._complete(prompts, {"max_tokens": max_new_tokens, **additions})
        return [self._generated(reply) for reply in replies]

    def _complete(self, prompts: Sequence[Sequence[int]], settings: Mapping[str, Any]) -> list[Reply]:
        sent: Sequence[Prompt] = prompts
        if not self.ways.takes_ids:  # the server's tokenizer puts `before` there by itself
            sent = [self.codec.decode(list(ids[len(self.codec.before) :])) for ids in prompts]
        return self.server.post("completions", [_body(self.name, prompt, settings) for prompt in sent])

    def _choice(self, reply: Reply) -> dict[str, Any]:
        if reply.status != 200:
            do = "Correct what the server names, and repeat the command."
            raise ModelError(self.server.url, f"a refusal: {reply.problem}", "an answer", do)
        choice = _first_choice(reply)
        if choice is None:
            raise ModelError(self.server.url, "an answer without a choice", "one, as OpenAI's completions have")
        return choice

    def _prompt_log_probs(self, reply: Reply, ids: Sequence[int]) -> list[float]:
        found = _log_probs_of(self._choice(reply), len(ids))
        if found is None:
            expected = f"the log-probabilities of the {len(ids)} tokens of its prompt, as it gave them before"
            raise ModelError(self.server.url, "an answer without them", expected, "Look at the server's log.")
        return found

    def _generated(self, reply: Reply) -> list[int]:
        choice = self._choice(reply)
        ids, text = _new_ids(choice), choice.get("text")
        if ids is None:
            if not isinstance(text, str):
                raise ModelError(self.server.url, "an answer without its text", "one, as OpenAI's completions have")
            ids = self.codec.encode(text)
        if not all(0 <= i < MAX_ID for i in ids):
            raise ModelError(self.server.url, "token ids that no tokenizer has", "those that the model wrote")
        return self.codec.until_end(ids)


def load_remote(
    url: str,
    tokenizer: str,
    name: str | None = None,
    separator: str = "\n",
    chat_template: bool = False,
    seconds: float | None = None,
) -> RemoteModel:
    """The model `name` of the server at `url` (http://localhost:8000/v1), with the tokenizer in a local folder.

    `name` may be left out where the server has one model. `seconds` are what a request may take; see `Server`. The
    server's key is read from `OPENFLAN_API_KEY`.

    ModelError: the server refuses, or its model and the tokenizer do not belong together. RunError: it does not answer.
    ConfigError: no address of a server.
    """
    where = EMBEDDED if tokenizer == "base" else Path(tokenizer)
    codec = codec_of(load_tokenizer(tokenizer), where, separator, chat_template, end_ids(where))
    # Whether a server is there at all is told at once. Some have no list of models, or none without a network.
    listed = Server(url, pauses_s=(), seconds=CONNECT_S, passing=frozenset()).get("models")
    models = _models(listed)
    if name is None and len(models) != 1:
        found = f"{len(models)} models ({', '.join(sorted(models)[:10])})" if models else "no list of its models"
        told = f" ({listed.problem})" if listed.problem else ""
        raise ModelError(url, found + told, "one model", "Check the address, or name the model with --model-name.")
    name = name or next(iter(models))
    about = models.get(name, {})
    limit: dict[str, Any] = {} if seconds is None else {"seconds": seconds}
    asked = Server(url, passing=PASSING - {500}, **limit)  # which may mean a wish that the server does not know
    model = RemoteModel(
        Server(url, **limit),
        name,
        codec,
        _find_ways(asked, name, codec, models),
        root=str(about.get("root") or ""),
        max_positions=_most_positions(about),
    )
    _check_tokenizer(model, asked, tokenizer)
    return model


def _models(listed: Reply) -> dict[str, dict[str, Any]]:
    """What the server says about its models, by name. Names that no folder could have are passed over."""
    data = listed.content.get("data")
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    named = {str(entry.get("id", "")): entry for entry in entries}
    return {name: entry for name, entry in named.items() if name.isprintable() and 0 < len(name) <= LONGEST_NAME}


def _most_positions(about: Mapping[str, Any]) -> int:
    """The longest sequence to score, one token less than the server reads: one is generated."""
    meta = about.get("meta")  # llama.cpp's
    limit = meta.get("n_ctx") if isinstance(meta, dict) else about.get("max_model_len")
    return min(limit - 1, MOST) if isinstance(limit, int) and limit > 1 else MOST


def _body(name: str, prompt: Prompt, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": name, "prompt": prompt if isinstance(prompt, str) else list(prompt), "temperature": 0, **settings}


def _ask(server: Server, name: str, prompt: Prompt, settings: Mapping[str, Any]) -> Reply:
    return server.post("completions", [_body(name, prompt, {"max_tokens": 1, **settings})])[0]


def _additions(codec: Codec) -> dict[str, Any]:
    """What makes vLLM and llama.cpp tell the ids that they generate, and keeps vLLM from taking a penalty for
    repetition from the model's folder."""
    return {"return_token_ids": True, "logprobs": 1, "stop_token_ids": list(codec.ends), "repetition_penalty": 1.0}


def _find_ways(server: Server, name: str, codec: Codec, models: Mapping[str, object]) -> Ways:
    ask = partial(_ask, server, name)
    ids, text = codec.prompt_ids(PROBE), PROBE + codec.separator
    forms: list[tuple[Prompt, dict[str, Any]]] = [(ids, _additions(codec)), (ids, {}), (text, {})]
    for prompt, additions in forms:
        reply = ask(prompt, additions)
        if _first_choice(reply) is not None:
            break
    else:
        do = did_you_mean(name, models) if models and name not in models else "Correct what the server names."
        raise ModelError(server.url, f"a refusal: {reply.problem}", "a completion", do)
    as_text = [*codec.before, *codec.encode(PROBE + codec.separator)]
    if prompt is text and (len(codec.before) > 1 or codec.prompt_ids(PROBE) != as_text):
        found = "a server that takes no token ids, which this chat template or separator needs"
        raise ModelError(server.url, found, "one that does", "Serve the model with vLLM, or ask it in plain style.")
    choice = _first_choice(ask(ids, SCORED)) if prompt is ids else None
    ranks = choice is not None and _log_probs_of(choice, len(ids)) is not None
    return Ways(ranks, takes_ids=prompt is ids, takes_additions=bool(additions))


def _check_tokenizer(model: RemoteModel, server: Server, tokenizer: str) -> None:
    """Refuse a tokenizer whose ids mean something else to the server.

    Where the server repeats the prompt, it must read the ids as the text they were made of; else it must cut a text
    into as many tokens. It must also take the tokenizer's last id.
    """
    codec = model.codec
    ids = [*codec.before, *codec.encode(PROBE)]

    ask = partial(_ask, server, model.name)
    found = ""
    if model.ways.ranks:
        said = str((_first_choice(ask(ids, SCORED)) or {}).get("text", ""))
        if codec.decode(ids).strip() not in said:
            found = f"a tokenizer whose ids of {PROBE[:24]!r}... the server reads as {said[:40]!r}..."
    else:
        usage = ask(PROBE, {}).content.get("usage")
        num_there = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        num_there = num_there if isinstance(num_there, int) else None
        if num_there not in (len(ids), len(ids) - len(codec.before)):
            found = f"a tokenizer that cuts a text into {len(ids)} tokens, of which the server counts {num_there}"
    if model.ways.takes_ids and not found:
        reply = ask([*ids, codec.vocab_size - 1], {})
        if reply.status != 200:
            found = f"a tokenizer with {codec.vocab_size} ids, the last of which the server refuses ({reply.problem})"
    if found:
        do = "Give --tokenizer the folder of the model that is served."
        raise ModelError(tokenizer, found, f"the tokenizer of {model.name} at {server.url}", do)


def _first_choice(reply: Reply) -> dict[str, Any] | None:
    choices = reply.content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _new_ids(choice: Mapping[str, Any]) -> list[int] | None:
    """The ids that were generated, as vLLM or llama.cpp tell them; None where the server does not.

    >>> _new_ids({"token_ids": [7, 8]}), _new_ids({"logprobs": {"content": [{"id": 7}, {"id": 8}]}}), _new_ids({})
    ([7, 8], [7, 8], None)
    """
    ids = choice.get("token_ids")
    logprobs = choice.get("logprobs")
    if ids is None and isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
        ids = [entry.get("id") for entry in logprobs["content"] if isinstance(entry, dict)]
    return list(ids) if isinstance(ids, list) and all(isinstance(i, int) for i in ids) else None


def _log_probs_of(choice: Mapping[str, Any], num_ids: int) -> list[float] | None:
    """Of each token of the prompt, NaN for the first, which nothing predicts; None where the server gives none.

    >>> _log_probs_of({"logprobs": {"token_logprobs": [None, -0.5, -9999.0, -1.0]}}, num_ids=3)
    [nan, -0.5, -inf]
    """
    logprobs = choice.get("logprobs")
    values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
    # Besides the prompt's there is the new token's, or none where it ended the text.
    if not isinstance(values, list) or len(values) not in (num_ids, num_ids + 1):
        return None
    if not all(isinstance(value, int | float) and value < ROUNDED_ZERO for value in values[1:num_ids]):  # NaN is not
        return None
    return [float("nan"), *(-float("inf") if value <= LOWEST else float(value) for value in values[1:num_ids])]
