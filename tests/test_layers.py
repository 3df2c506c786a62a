"""The order of the layers and the rules of the design that a program can hold, checked on the source itself.

Every rule is a function from one parsed file to what breaks it, so that each can also be shown to fail.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "openflan"

LAYERS = (
    *("errors", "streams", "untrusted", "files", "finished", "environment"),
    *("world", "tasks", "templates", "mixture", "tokens", "models"),
    *("training", "evaluation", "config", "interop", "study", "report", "cli"),
)
STRANGERS = {("training", "evaluation"), ("evaluation", "training")}

TORCH = {"torch", "transformers", "peft", "accelerate"}
MODEL_LIBRARIES = {"transformers", "peft"}
# Folders and files that may load torch when they are imported, and within them those that must not.
MAY_LOAD_TORCH = ("tokens/batch.py", "models/", "training/", "evaluation/", "study/run_one.py", "study/evaluate.py")
LOAD_NO_TORCH = (
    *(f"evaluation/{name}.py" for name in ("predictions", "metrics", "text_metrics", "tables", "requests", "settings")),
    *(f"evaluation/{name}.py" for name in ("resampling", "scores", "self_check", "significance")),
    *("training/settings.py", "models/settings.py", "models/folder.py"),
)
# Layers that never name torch, not even inside a function.
FREE_OF_TORCH = {
    "errors",
    "streams",
    "untrusted",
    "files",
    "finished",
    "environment",
    "world",
    "tasks",
    "templates",
    "mixture",
    "config",
    "report",
    "cli",
} | {"interop"}

MAY_WRITE = ("files.py", "training/checkpoint.py", "models/")
WRITERS = {"write_text", "write_bytes", "save_file", "save_model", "save_pretrained", "tofile", "memmap"}  # methods


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module. `when` is "import" (at once), "call" (inside a function) or "types" (type checkers only)."""

    module: str
    when: str
    line: int


def imports(tree: ast.Module) -> list[Import]:
    """Every import of a file. `from a.b import c` counts as `a.b` and, because c may be a module, `a.b.c`."""
    return list(_imports(tree, "import"))


def _imports(node: ast.AST, when: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, when, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            yield Import(base, when, child.lineno)
            yield from (Import(f"{base}.{alias.name}", when, child.lineno) for alias in child.names)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child, "call")
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(child, "types")
        else:
            yield from _imports(child, when)


def layer_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def order_problems(path: str, tree: ast.Module) -> Iterator[str]:
    """Imports of a layer to the right, between training and evaluation, and relative ones."""
    if path == "__init__.py":  # re-exports the public names of all layers
        return
    own = layer_of(path)
    if own not in LAYERS:
        yield f"{path}: {own} is no layer"
        return
    for item in imports(tree):
        if item.module.startswith("."):
            yield f"{path}:{item.line}: a relative import"
        parts = item.module.split(".")
        if parts[0] != "openflan" or len(parts) == 1 or parts[1].startswith("__"):
            continue
        if parts[1] not in LAYERS:
            yield f"{path}:{item.line}: {item.module} is in no layer"
        elif LAYERS.index(parts[1]) > LAYERS.index(own) or (own, parts[1]) in STRANGERS:
            yield f"{path}:{item.line}: {own} imports {item.module}"


def library_problems(path: str, tree: ast.Module) -> Iterator[str]:
    """transformers or peft outside `models`; torch anywhere in a layer that must stay free of it."""
    for item in imports(tree):
        root = item.module.split(".")[0]
        if root in MODEL_LIBRARIES and layer_of(path) != "models":
            yield f"{path}:{item.line}: {root} outside models"
        elif layer_of(path) in FREE_OF_TORCH and (root in TORCH or item.module.startswith("safetensors.torch")):
            yield f"{path}:{item.line}: {layer_of(path)} names {item.module}"


def writing_problems(path: str, tree: ast.Module) -> Iterator[str]:
    """Files opened for writing, and saves, outside `files.py` and the two places that store weights."""
    if path.startswith(MAY_WRITE):
        return
    for item in imports(tree):
        if re.fullmatch(r"safetensors\..*save\w*", item.module):
            yield f"{path}:{item.line}: {item.module}"
    for call in _calls(tree):
        name = ast.unparse(call.func)
        function = name.rsplit(".", 1)[-1]
        if function in ("open", "fdopen"):
            modes = [a for a in (*call.args, *(k.value for k in call.keywords if k.arg == "mode")) if _may_be_mode(a)]
            if any(set("wax+") & set(mode.value) for mode in modes):
                yield f"{path}:{call.lineno}: {ast.unparse(call)}"
        elif ("." in name and function in WRITERS and not name.startswith("files.")) or re.fullmatch(
            r"(torch|np|numpy)\.save\w*|json\.dump|yaml\.(safe_)?dump_all", name
        ):
            yield f"{path}:{call.lineno}: {name}"


def _may_be_mode(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(re.fullmatch("[rwaxbt+]+", node.value))
    )


def chance_problems(path: str, tree: ast.Module) -> Iterator[str]:
    """Draws, seeds and hashes outside `streams.py`. NumPy and torch may be seeded by `seed_of(...)` on the spot."""
    if path == "streams.py":
        return
    for item in imports(tree):
        if item.module.split(".")[0] in ("hashlib", "secrets", "zlib.crc32"):
            yield f"{path}:{item.line}: {item.module}"
        if item.module.startswith("random.") and item.module != "random.Random":
            yield f"{path}:{item.line}: {item.module}"
    for call in _calls(tree):
        name = ast.unparse(call.func)
        fed = any("seed_of(" in ast.unparse(argument) for argument in call.args)
        if (
            name in ("hash", "Random")
            or name.startswith("random.")
            or (re.match(r"(np|numpy)\.random\.", name) and not (name.endswith(".default_rng") and fed))
            or (name.endswith("default_rng") and not fed)
            or (name.endswith("manual_seed") and not fed)
        ):
            yield f"{path}:{call.lineno}: {ast.unparse(call)}"


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def loads_torch(trees: dict[str, ast.Module]) -> set[str]:
    """The files whose import loads torch: by themselves, or through a file of ours that they import."""
    direct = {path: {item.module for item in imports(tree) if item.when == "import"} for path, tree in trees.items()}
    heavy = {
        path
        for path, modules in direct.items()
        if any(m.split(".")[0] in TORCH or m.startswith("safetensors.torch") for m in modules)
    }
    while True:
        names = {"openflan." + path.removesuffix(".py").replace("/", ".") for path in heavy}
        more = {path for path, modules in direct.items() if modules & names}
        if more <= heavy:
            return heavy
        heavy |= more


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Every source file of the package, by its path inside it."""
    return {str(p.relative_to(SRC)): ast.parse(p.read_text(encoding="utf-8")) for p in sorted(SRC.rglob("*.py"))}


def test_every_file_is_seen(trees):
    on_disk = subprocess.run(["find", str(SRC), "-name", "*.py"], capture_output=True, text=True, check=True).stdout
    assert len(trees) == len(on_disk.split()) > 20
    assert {layer_of(path) for path in trees} - {"__init__"} == set(LAYERS)
    assert sum(len(imports(tree)) for tree in trees.values()) > 200


@pytest.mark.parametrize("rule", [order_problems, library_problems, writing_problems, chance_problems])
def test_the_source_keeps_the_rule(trees, rule):
    assert [problem for path, tree in trees.items() for problem in rule(path, tree)] == []


def test_only_these_files_load_torch(trees):
    heavy = loads_torch(trees)
    assert {path for path in heavy if not path.startswith(MAY_LOAD_TORCH) or path in LOAD_NO_TORCH} == set()
    assert len(heavy) > 5


def test_sub_package_inits_are_empty(trees):
    inits = [path for path in trees if path.endswith("/__init__.py")]
    assert len(inits) == 12
    assert [path for path in inits if (SRC / path).read_text().strip()] == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (order_problems, "tasks/card.py", "from openflan.mixture import plan"),
        (order_problems, "tasks/card.py", "def f():\n    import openflan.cli.main"),
        (order_problems, "errors.py", "from openflan.files import parse"),
        (order_problems, "world/facts.py", "from openflan import tasks"),
        (order_problems, "evaluation/run.py", "from openflan.training.loop import tune"),
        (order_problems, "training/loop.py", "if TYPE_CHECKING:\n    from openflan.evaluation import run"),
        (order_problems, "tasks/card.py", "from . import example"),
        (order_problems, "helpers.py", ""),
        (order_problems, "tasks/card.py", "from openflan.helpers import f"),
        (library_problems, "training/loop.py", "import transformers"),
        (library_problems, "tokens/encode.py", "def f():\n    from transformers import AutoTokenizer"),
        (library_problems, "cli/main.py", "def f():\n    import torch"),
        (library_problems, "mixture/plan.py", "from safetensors.torch import load_file"),
        (writing_problems, "tasks/card.py", "open(path, 'w')"),
        (writing_problems, "tasks/card.py", "path.open('ab+')"),
        (writing_problems, "tasks/card.py", "gzip.open(path, mode='xt')"),
        (writing_problems, "report/page.py", "path.write_text(page)"),
        (writing_problems, "evaluation/run.py", "torch.save(x, path)"),
        (writing_problems, "tokens/pack.py", "np.savez(path, x)"),
        (writing_problems, "study/execute.py", "from safetensors.torch import save_file"),
        (chance_problems, "tasks/card.py", "import hashlib"),
        (chance_problems, "tasks/card.py", "from random import shuffle"),
        (chance_problems, "tasks/card.py", "random.Random(3)"),
        (chance_problems, "tasks/card.py", "random.shuffle(rows)"),
        (chance_problems, "tasks/card.py", "np.random.seed(3)"),
        (chance_problems, "evaluation/scores.py", "np.random.default_rng(seed)"),
        (chance_problems, "training/loop.py", "torch.manual_seed(seed)"),
        (chance_problems, "tasks/card.py", "hash(name)"),
    ],
)
def test_a_breach_is_found(rule, path, source):
    assert len(list(rule(path, ast.parse(source)))) >= 1


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (order_problems, "cli/main.py", "def f():\n    from openflan.training.loop import tune"),
        (order_problems, "mixture/plan.py", "import openflan\nfrom openflan.mixture.rates import allot"),
        (library_problems, "models/load.py", "import transformers"),
        (library_problems, "tokens/batch.py", "import torch"),
        (writing_problems, "tasks/sources.py", "open(path)\npath.open('rb')\ngzip.open(path, 'rt')"),
        (writing_problems, "report/page.py", "files.write_text(path, page)\nwrite_text(path, page)"),
        (chance_problems, "tasks/card.py", "import random\ndef f(rng: random.Random): rng.shuffle(rows)"),
        (chance_problems, "training/loop.py", "torch.manual_seed(seed_of(seed, 'init'))"),
        (chance_problems, "evaluation/scores.py", "np.random.default_rng(seed_of(seed, 'bootstrap'))"),
    ],
)
def test_what_is_allowed_passes(rule, path, source):
    assert list(rule(path, ast.parse(source))) == []


def test_torch_is_found_behind_an_import_of_ours():
    trees = {
        "tokens/batch.py": ast.parse("import torch"),
        "study/execute.py": ast.parse("from openflan.tokens import batch"),
        "cli/main.py": ast.parse("from openflan.study.execute import run_one"),
        "cli/lazy.py": ast.parse("def f():\n    from openflan.study.execute import run_one"),
    }
    assert loads_torch(trees) == {"tokens/batch.py", "study/execute.py", "cli/main.py"}


def test_the_package_and_its_public_names_load_without_torch():
    names = "sorted(n for n in dir(openflan) if n != '__version__')"
    heavy = f"{{m.split('.')[0] for m in sys.modules}} & {TORCH!r}"
    lines = [
        "import sys, openflan",
        "print([m for m in sys.modules if m.startswith('openflan.')])",
        f"print(len([getattr(openflan, name) for name in {names}]))",
        f"print(sorted({heavy}))",
    ]
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "16", "[]"]
