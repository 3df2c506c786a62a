from pathlib import Path

import pytest
import yaml

from openflan.config import RunConfig, candidate_tasks, evaluated_tasks, load_recipe, present_tasks
from openflan.errors import CatalogError, ConfigError
from openflan.tasks.catalog import Catalog, load_catalog

RECIPES = Path(__file__).parent.parent / "recipes"
SMALL = {
    "name": "small",
    "held_out": ["sentiment"],
    "data": {"collection": "world"},
    "mixture": {"num_examples": 10},
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def load(path: Path, *changes: str) -> RunConfig:
    return load_recipe(path, changes)


def test_the_packaged_study_is_found_by_its_name():
    demo = load(Path("demo"), "seed=7")
    assert (demo.name, demo.seed, demo.data.collection) == ("demo", 7, "world")
    assert len(demo.held_out) >= 3 and demo.shuffled_labels


def test_a_folder_of_that_name_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert load(Path("demo")).name == "demo"


def test_the_recipe_on_real_rows_loads_and_its_tasks_exist(catalog):
    config = load(RECIPES / "real-small.yaml")
    assert len(candidate_tasks(config, catalog)) >= 8
    assert [task.name for task in evaluated_tasks(config, catalog, "natural_language_inference")] == ["cb", "rte"]


def test_an_adapter_gets_an_optimizer_that_trains_it(path):
    """Unless one is given: Adafactor's steps, relative to weights that begin at zero, would leave it as it is."""
    lora, prompt = "model.adapter={kind: lora}", "model.adapter={kind: prompt_tuning}"

    def of(*changes: str) -> tuple[str, float]:
        train = load(path, *changes).train
        return train.optimizer, train.learning_rate

    assert of(lora) == ("adamw", 2e-4)
    assert of(prompt) == ("adamw", 1e-2)
    assert of(lora, "train.num_epochs=2") == ("adamw", 2e-4)
    assert of(lora, "train.learning_rate=1e-3") == ("adamw", 1e-3)
    assert of(lora, "train.optimizer=muon") == ("muon", 2e-4)
    assert of(lora, "train.optimizer=adafactor", "train.learning_rate=0.1") == ("adafactor", 0.1)
    for changes in (["train.optimizer=adafactor"], ["train.optimizer=adafactor", "train.learning_rate=3e-5"]):
        with pytest.raises(
            ConfigError, match=r"train: .* adafactor at 3e-05 .*: write `optimizer: adamw` and `learning"
        ):
            of(lora, *changes)
    again = load(path, lora)
    assert RunConfig.model_validate(again.model_dump(mode="json")) == again


def test_defaults_are_the_papers(path):
    config = load(path)
    assert (config.train.optimizer, config.train.learning_rate) == ("adafactor", 3e-5)
    assert config.train.pack_tokens * config.train.packs_per_update == 8192
    assert (config.model.max_input_tokens, config.model.max_target_tokens) == (1024, 256)
    assert (config.mixture.max_rows_per_task, config.mixture.rate_cap) == (30_000, 3_000)


@pytest.mark.parametrize(
    ("change", "read", "expected"),
    [
        ("seed=3", lambda c: c.seed, 3),
        ("train.learning_rate=1e-4", lambda c: c.train.learning_rate, 1e-4),
        ("train.learning_rate=1.5e-4", lambda c: c.train.learning_rate, 1.5e-4),
        ("shuffled_labels=true", lambda c: c.shuffled_labels, True),
        ("mixture.templates_per_task=null", lambda c: c.mixture.templates_per_task, None),
        ("held_out=[coreference, translation]", lambda c: c.held_out, ("coreference", "translation")),
        ("model.path=a=b", lambda c: c.model.path, "a=b"),
        ('model.path="1e5"', lambda c: c.model.path, "1e5"),
        ('data.root="rows: mine"', lambda c: c.data.root, Path("rows: mine")),
    ],
)
def test_set_changes_one_setting(path, change, read, expected):
    changed = load(path, change)
    assert read(changed) == expected
    assert type(read(changed)) is type(expected)


def test_set_leaves_the_rest_and_the_last_one_counts(path):
    config = load(path, "mixture.rate_cap=5", "seed=1", "seed=2")
    assert (config.mixture.num_examples, config.mixture.rate_cap, config.seed) == (10, 5, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "--set seed: found no `=`; expected `key=value`"),
        ("=1", "--set =1: found no `=`"),
        ("seed=[1", r"--set seed=\[1: found a value that is not plain YAML: .* line 1"),
        ("sead=1", r"^--set sead=1: found sead \(unknown key; Did you mean seed"),
        (
            "train.lerning_rate=1",
            r"^--set train.lerning_rate=1: found train.lerning_rate \(unknown key; Did you mean learning_rate",
        ),
        (
            "train.learning_rate=fast",
            "^--set train.learning_rate=fast: found train.learning_rate: Input should be a valid number",
        ),
        ("train=3", "^--set train=3: found train: Input should be"),
        ("held_out=[]", "held_out"),
        ("held_out=[sentiment, sentiment]", "held_out.* twice"),
        ("num_jobs=0", "num_jobs"),
    ],
)
def test_a_change_that_is_wrong(path, change, message):
    with pytest.raises(ConfigError, match=message):
        load(path, change)


def test_everything_wrong_with_a_recipe_is_told_at_once(path):
    path.write_text(yaml.safe_dump({**SMALL, "mixture": {"num_examples": 0}, "colour": "red"}))
    with pytest.raises(ConfigError, match=r"(?=.*mixture\.num_examples)(?=.*colour \(unknown key)"):
        load(path)


@pytest.mark.parametrize("name", ["nowhere.yaml", "dmo"])
def test_a_recipe_that_is_not_there(name):
    with pytest.raises(ConfigError, match=name):
        load(Path(name))


def test_candidates_are_the_tasks_named_or_a_collection(path, catalog):
    named = "data.tasks=[world_sst, world_rte, world_sst]"
    both = load(path, named, "held_out=[sentiment, translation]")
    assert [task.name for task in candidate_tasks(both, catalog)] == ["world_sst", "world_rte"]
    with pytest.raises(ConfigError, match="found world_sst, of the one cluster that is held out, sentiment"):
        candidate_tasks(load(path, named), catalog)
    assert {task.collection for task in candidate_tasks(load(path), catalog)} == {"world"}
    with pytest.raises(CatalogError, match="Did you mean world_rte"):
        candidate_tasks(load(path, "data.tasks=[world_rtee]"), catalog)
    with pytest.raises(ConfigError, match="neither `tasks` nor `collection`"):
        candidate_tasks(load(path, "data.collection=null"), catalog)
    with pytest.raises(ConfigError, match=r"'wrld'.*flan, world"):
        candidate_tasks(load(path, "data.collection=wrld"), catalog)


def test_evaluated_are_the_tasks_named_or_the_cluster(path, catalog):
    def names(*changes: str) -> list[str]:
        return [task.name for task in evaluated_tasks(load(path, *changes), catalog, "sentiment")]

    assert names() == ["world_reviews", "world_sst"]
    assert names("data.evaluate=[sst2]") == ["sst2"]
    no_collection = "data.collection=null"
    assert names(no_collection, "data.tasks=[world_rte]") == ["world_reviews", "world_sst"]
    assert names(no_collection, "data.tasks=[rte, copa]") == ["imdb", "sentiment140", "sst2", "yelp_polarity_reviews"]
    assert names(no_collection, "data.tasks=[rte, world_rte]", "data.evaluate=[sst2]") == ["sst2"]
    message = "the cluster sentiment: found tasks of 2 collections: flan 4, world 2; expected tasks of one collection"
    for mixed in ("data.tasks=[rte, world_rte]", "seed=7"):
        with pytest.raises(ConfigError, match=message):
            names(no_collection, mixed)
    with pytest.raises(ConfigError, match="world_rte, whose cluster, natural_language_inference, is not held out"):
        names("data.evaluate=[sst2, world_rte]")
    with pytest.raises(ConfigError, match="no task of sentiment to evaluate"):
        names("held_out=[sentiment, translation]", "data.evaluate=[world_translate_en_ve]")


def test_a_collection_goes_without_tasks_that_are_only_evaluated(path, catalog):
    config = load(path, "data.collection=flan")
    present, absent = present_tasks(config, candidate_tasks(config, catalog), "train")
    assert [(e.task, e.reason) for e in absent if e.task == "wsc273"] == [
        ("wsc273", "it has no training rows; it is only evaluated")
    ]
    assert all(task.source.splits.train for task in present)
    assert len(present) + len(absent) == len(candidate_tasks(config, catalog))
    named = load(path, "data.tasks=[wsc273]")
    assert present_tasks(named, candidate_tasks(named, catalog), "train")[1] == []  # reading its rows tells the mistake


def test_tasks_without_rows_are_left_out_on_request(path, catalog, tmp_path):
    for split in ("train", "validation"):
        (tmp_path / "rte").mkdir(exist_ok=True)
        (tmp_path / "rte" / f"{split}.jsonl").write_text("{}\n")
    (tmp_path / "snli").mkdir()
    (tmp_path / "snli" / "train.jsonl").write_text("{}\n")
    data = f"data.root={tmp_path}", "data.tasks=[rte, snli, sst2, world_sst]", "held_out=[translation]"
    tasks = candidate_tasks(load(path, *data), catalog)
    assert present_tasks(load(path, *data), tasks, "train") == (tasks, [])
    leave = load(path, *data, "data.missing=leave_out")
    present, absent = present_tasks(leave, tasks, "train")
    assert [task.name for task in present] == ["rte", "snli", "world_sst"]
    assert [(e.task, e.reason) for e in absent] == [("sst2", f"its train rows are not in {tmp_path}")]
    present, absent = present_tasks(leave, tasks, "test")
    assert [task.name for task in present] == ["rte", "world_sst"]
    assert absent[0].reason == f"it is not evaluated either: its test rows are not in {tmp_path}"


def test_a_folder_without_any_rows(path, catalog, tmp_path):
    config = load(path, "data.tasks=[rte, trec]", "data.missing=leave_out", f"data.root={tmp_path}")
    with pytest.raises(ConfigError, match=r"train rows of none of 2 tasks.*Give --data-root"):
        present_tasks(config, candidate_tasks(config, catalog), "train")


def test_what_is_wrong_in_the_file_is_not_blamed_on_a_change(path):
    path.write_text(yaml.safe_dump({**SMALL, "colour": "red"}))
    with pytest.raises(ConfigError, match=r"^/.*small.yaml: found colour"):
        load_recipe(path, ["seed=1"])
    with pytest.raises(ConfigError, match=r"^/.*small.yaml: found seed: .*; colour"):
        load_recipe(path, ["seed=x"])
