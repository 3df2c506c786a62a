from fuzz.mutate import fuzz, jsonl_files, only_openflan_errors
from openflan.evaluation.predictions import read_predictions

CHOICE = {
    "uid": "rte/test/0", "task": "rte", "template": "how", "gold": 1, "logprobs": [-1.5, -0.5], "num_tokens": [1, 2],
    "num_bytes": [3, 2], "text": None, "references": [], "prior_logprobs": [-2.0, -3.0], "num_exemplars": 1,
}  # fmt: skip
TEXT = {**CHOICE, "uid": "x/test/1", "gold": None, "text": "a", "references": ["a"], "at_limit": True} | {
    name: [] for name in ("logprobs", "num_tokens", "num_bytes", "prior_logprobs")
}


@fuzz(jsonl_files([CHOICE, TEXT]))
def test_predictions(tmp_path, content):
    (tmp_path / "test.jsonl").write_bytes(content)
    only_openflan_errors(lambda: list(read_predictions(tmp_path / "test.jsonl")))
