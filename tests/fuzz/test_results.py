from fuzz.mutate import fuzz, json_files, only_openflan_errors, yaml_files
from openflan import files
from openflan.config import STUDIES, load_recipe
from openflan.report.tables import results_table
from openflan.study.compare import StudyResults
from openflan.study.directory import read_config
from openflan.study.results import read_evaluation

SCORE = {"score": 0.5, "low": 0.4, "high": 0.6, "num_examples": 40}
ROW = {"held_out": "nli", "arm": "tuned", **SCORE, "num_templates": 5}
COUNTS = {"num_prompts": 200, "num_unscored": 1, "num_cut": 2, "num_at_limit": 0}
GAP = {"difference": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.05, "adjusted": 0.1, "detectable": 0.14}
RUN = {"directory": "runs/nli", "held_out": "nli", "arms": ["tuned"], "model": "base", "seed": 0, "command": "openflan"}
RESULTS = {
    "rows": [ROW, {**ROW, "arm": "untuned, options"}],
    "differences": [{"held_out": "nli", "a": "tuned", "b": "untuned, options", **GAP, "num_unpaired": 0}],
    "seconds": {"tune": 1.5},
    "tasks": [{**ROW, "task": "rte", "metric": "accuracy", "spread": 0.01, "median_margin": 0.5, "tie_rate": 0.0}],
    "details": [{"held_out": "nli", "arm": "tuned", "task": "rte", "template": "t", "score": None, "num_examples": 0}],
    "runs": [{**RUN, "trained_on": ["sst2"], "evaluated_on": ["rte"], "excluded": {"qnli": "x"}, "fingerprints": {}}],
}
RESULTS["tasks"][0] |= {**COUNTS, "signature": None}
TASK = {"metrics": ["accuracy"], "cluster": "nli", "dataset": "rte", "num_examples": 1, "num_dev_examples": 0}
EVALUATION = {
    "name": "base",
    "identity": "abc",
    "model": "base",
    "model_fingerprint": "a",
    "settings": {"num_shots": 0},
    "seed": 0,
}
CONFIG = load_recipe(STUDIES / "demo.yaml").model_dump(mode="json")


@fuzz(json_files(RESULTS))
def test_results(tmp_path, content):
    (tmp_path / files.RESULTS).write_bytes(content)

    def show():
        results_table(StudyResults.from_json(files.read_json(tmp_path / files.RESULTS)))

    only_openflan_errors(show)


@fuzz(
    json_files(
        {**EVALUATION, "tasks": {"rte": {**TASK, "num_templates": 1, "num_rows_dropped": {}, "max_new_tokens": 64}}}
    )
)
def test_evaluation(tmp_path, content):
    (tmp_path / "evaluation.json").write_bytes(content)
    only_openflan_errors(lambda: read_evaluation(tmp_path).num_expected)


@fuzz(yaml_files({"fingerprint": "a", "config": CONFIG}))
def test_run(tmp_path, content):
    (tmp_path / files.RUN).write_bytes(content)
    only_openflan_errors(read_config, tmp_path)
