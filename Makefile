# Everything here works from a fresh clone with Python 3.11 or newer, pip and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ARGS ?=
BIN := .venv/bin

# Runs a command while holding the lock, which the system takes back however the command ends.
LOCKED = $(PYTHON) -c "import fcntl, subprocess, sys; lock = open('.venv.lock', 'w'); \
	fcntl.flock(lock, fcntl.LOCK_EX); sys.exit(subprocess.call(sys.argv[1:], pass_fds=[lock.fileno()]))"

.PHONY: help install demo test check format fuzz bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

install: ## create .venv and install into it, once; run again after a change of pyproject.toml or constraints.txt
	@$(LOCKED) $(MAKE) --silent --no-print-directory .venv/.ok

# The stamp goes first and comes back last: a .venv without it was interrupted and is made anew. torch goes alone and
# before the rest, so that only torch is looked up at PyTorch's index and the build without CUDA is the one installed.
.venv/.ok: pyproject.toml constraints.txt
	@test -f $@ || { echo "Creating .venv with $(PYTHON)"; $(PYTHON) -m venv --clear .venv; }
	@rm -f $@
	@echo "Installing into .venv; the first time this takes some minutes"
	@$(BIN)/python -m pip install --quiet --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

demo: install ## the whole experiment in miniature, on the CPU; ARGS="--out DIR --seed N"
	@$(BIN)/openflan demo $(ARGS)

# Tests share the cores as processes; threads of torch beside them would only wait for each other.
test: install ## all tests; ARGS="tests/mixture -k rates" for some
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

check: install ## format, lint, types and the order of the layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_layers.py

format: install ## rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: install ## damaged and hostile inputs for every reader, longer than `make test` does; EXAMPLES=5000
	@OPENFLAN_FUZZ_EXAMPLES=$(or $(EXAMPLES),5000) $(BIN)/python -m pytest tests/fuzz tests/study/test_damaged_runs.py $(ARGS)

bench: install ## speed and memory, written to benchmarks/
	@$(BIN)/python benchmarks/run.py $(ARGS)

clean: ## remove .venv and all caches
	rm -rf .venv .venv.lock .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
