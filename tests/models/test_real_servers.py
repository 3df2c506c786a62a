"""The same questions to real servers on this machine, vLLM and `transformers serve`; skipped where they are absent.

vLLM needs an environment of its own: `OPENFLAN_VLLM` names its program (docs/servers.md).
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers.utils.import_utils import is_serve_available

from openflan.errors import ModelError, RunError
from openflan.models.folder import EMBEDDED
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model
from openflan.models.remote import RemoteModel, Ways, load_remote
from openflan.models.settings import ModelSettings
from openflan.tokens.batch import Batch, collate
from openflan.tokens.codec import Codec
from openflan.tokens.pack import Pack, branched_segment, shared_segment
from toys import toy_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("socket_enabled")]

START_S = 400
QUESTIONS = ("Paul lives in the city. Where does he live?", "Did Ann eat the bread? Yes or no?", "x")
OPTIONS = ("Yes", "No", "Yes, he did", "in the city", "No")


@contextmanager
def started(command: Sequence[str], url: str, name: str, log: Path) -> Iterator[RemoteModel]:
    """The server's model, as soon as the server answers."""
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | quiet)
    try:
        end = time.monotonic() + START_S
        while True:
            try:
                model = load_remote(url, "base", name)
                break
            except RunError:
                assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-3000:]
                time.sleep(1)
        yield model
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def local() -> HuggingFaceModel:
    return load_model(ModelSettings(path="base"))


def prompts(codec: Codec) -> list[list[int]]:
    return [codec.prompt_ids(text) for text in QUESTIONS]


def questions(codec: Codec) -> Batch:
    """Each question with all options, and all of them again behind what they share."""
    options = [codec.target_ids(text) for text in OPTIONS]
    alone = [branched_segment(key, ids, options) for key, ids in enumerate(prompts(codec))]
    start = codec.encode("The capital of Lumeria is Mirov.\n")
    shared = shared_segment(9, start, [(ids, options[1:]) for ids in prompts(codec)])
    return collate([Pack(999, alone), Pack(999, [shared])])


def test_vllm(local, tmp_path):
    program = os.environ.get("OPENFLAN_VLLM") or shutil.which("vllm")
    if not program:
        pytest.skip("vLLM is absent: set OPENFLAN_VLLM to its program")
    port = free_port()
    command = [program, "serve", str(EMBEDDED), "--served-model-name", "base", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
    url = f"http://127.0.0.1:{port}/v1"
    with started(command, url, "base", tmp_path / "log") as model:
        assert model.ways == Ways(ranks=True, takes_ids=True, takes_additions=True)
        assert model.max_positions == 511
        batch = questions(local.codec)
        torch.testing.assert_close(model.log_probs(batch), local.log_probs(batch), atol=1e-4, rtol=0)
        texts = local.generate(prompts(local.codec), 24)
        assert model.generate(prompts(local.codec), 24) == texts
        [short] = model.generate(prompts(local.codec)[:1], 24, ["\n"])
        assert "\n" in local.codec.decode(short)
        assert short == texts[0][: len(short)] and len(short) < len(texts[0])
        toy_tokenizer().save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="the server reads as"):
            load_remote(url, str(tmp_path))
    model.server = replace(model.server, pauses_s=(0.1,))
    with pytest.raises(RunError, match="no answer after 2 attempts"):
        model.log_probs(batch)


def test_transformers_serve(local, tmp_path):
    if not is_serve_available():
        pytest.skip("transformers[serving] is absent")
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(EMBEDDED)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    with started(command, f"http://127.0.0.1:{port}/v1", str(EMBEDDED), tmp_path / "log") as model:
        assert model.ways == Ways(ranks=False, takes_ids=False, takes_additions=False)
        assert model.generate(prompts(local.codec), 24) == local.generate(prompts(local.codec), 24)
        with pytest.raises(ModelError, match="gives no log-probabilities"):
            model.log_probs(questions(local.codec))
