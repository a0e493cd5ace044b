VENV ?= .venv
# The first supported Python that runs; PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo "$$python" && break; done)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo docs bench bench-compare bench-gpu fuzz test test-kill slurm-up slurm-down test-slurm test-browser test-vllm test-agents test-neighbours install lint types format clean

# A tiny model from nothing to its report, whose place is printed last.
demo: install
	$(BIN)/codctl train recipes/tiny.yaml

test: install lint types
	$(BIN)/pytest

# The report in headless Chromium, which must be installed (Debian: chromium).
test-browser: install
	$(BIN)/pytest -m browser

# A real SLURM with two nodes on this machine (root, Debian; missing packages are installed), and its tests; then a job on
# two nodes with networks of their own.
slurm-up: install
	$(BIN)/python tests/slurm/cluster.py up

slurm-down: install
	$(BIN)/python tests/slurm/cluster.py down

test-slurm: install
	$(BIN)/pytest -m slurm tests/slurm tests/nodes

# A real vLLM on the CPU, in an environment of its own (3 GB); torch's CPU build must be within pip's reach, elsewhere by
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
VLLM_VENV ?= .venv-vllm
test-vllm: $(VLLM_VENV)/.installed
	$(VLLM_VENV)/bin/python -m pytest -m vllm tests/vllm

$(VLLM_VENV)/.installed: pyproject.toml tests/vllm/constraints.txt tests/vllm/venv.py
	$(PYTHON) tests/vllm/venv.py $(VLLM_VENV)
	touch $@

# Real agent programs in environments of their own, which take minutes and 0.2 to 1.5 GB each, unless CODCTL_CLAUDE_CODE,
# CODCTL_HERMES, CODCTL_OPENCLAW or CODCTL_QWENPAW names one that is there. AGENTS="hermes qwenpaw" chooses; openclaw needs
# npm. Claude Code is proprietary. PACKS=3 plays fewer packs.
AGENTS ?= claude-code hermes
AGENTS_VENV ?= .venv-agents
test-agents: install
	$(BIN)/python tests/agents/real/install.py $(AGENTS_VENV) $(AGENTS)
	CODCTL_TEST_AGENTS="$(AGENTS)" CODCTL_TEST_AGENTS_FOLDER="$(AGENTS_VENV)" \
		$(if $(PACKS),CODCTL_TEST_PACKS=$(PACKS)) $(BIN)/pytest -m agents tests/agents/real

# The real verifiers, Inspect and Harbor's checks of ATIF, in an environment of its own. Inspect needs an
# older fsspec and verifiers an older mcp; of Harbor, which needs Python 3.12, only the models of ATIF are used.
NEIGHBOURS_VENV ?= .venv-neighbours
test-neighbours: $(NEIGHBOURS_VENV)/.installed
	$(NEIGHBOURS_VENV)/bin/python -m pytest -n 0 tests/neighbours tests/sessions

$(NEIGHBOURS_VENV)/.installed: pyproject.toml constraints.txt
	test -x $(NEIGHBOURS_VENV)/bin/python || $(PYTHON) -m venv $(NEIGHBOURS_VENV)
	grep -v -E '^(fsspec|mcp)==' constraints.txt > $(NEIGHBOURS_VENV)/constraints.txt
	$(NEIGHBOURS_VENV)/bin/python -m pip install -c $(NEIGHBOURS_VENV)/constraints.txt torch==2.13.0
	$(NEIGHBOURS_VENV)/bin/python -m pip install -c $(NEIGHBOURS_VENV)/constraints.txt -e ".[inspect,verifiers]" \
		pytest pytest-xdist hypothesis
	$(NEIGHBOURS_VENV)/bin/python -m pip install --no-deps --ignore-requires-python harbor==0.25.0
	touch $@

# SIGKILL at N random moments, then full disks, damage, races and a clock that jumps; half an hour on two cores.
N ?= 100
test-kill: install
	$(BIN)/python tests/durability/kills.py --kills $(N)
	CODCTL_FAULTS=all $(BIN)/pytest tests/durability

# Worlds, then rollouts, learner, warm start and memory beside their bounds and beside others; some ten minutes.
bench: install
	OMP_NUM_THREADS=1 $(BIN)/python experiments/bench/worlds.py
	OMP_NUM_THREADS=1 $(BIN)/python experiments/bench/speed.py

# Two commits, or a commit and this checkout, play the same workloads in turns: A=main B=. COMPARE="--only rollouts-16".
A ?= HEAD
B ?= .
bench-compare: install
	$(BIN)/python experiments/bench/compare.py $(A) $(B) $(COMPARE)

# What one GPU can show in ten minutes, with SmolLM2-135M and Qwen3-8B of random weights; ends with status 3 where there is
# none. FOLDER is a model folder of SmolLM2-135M-Instruct, which is then trained; BENCH="--parts generate lora" chooses.
bench-gpu: install
	$(BIN)/python experiments/bench/gpu.py $(if $(FOLDER),--folder $(FOLDER)) $(BENCH)

# 100,000 hostile answers for each family, as many hostile command lines, and FOLDERS hostile run folders, on each of which
# every command that reads runs is played; an hour on two cores. SEED=2 makes other folders.
FOLDERS ?= 400
SEED ?= 1
fuzz: install
	CODCTL_FUZZ_EXAMPLES=100000 $(BIN)/pytest tests/envs -k "hostile or fuzz"
	CODCTL_HOSTILE_FOLDERS=$(FOLDERS) CODCTL_HOSTILE_SEED=$(SEED) $(BIN)/pytest tests/hostile

# The documentation as a site; a broken link is an error.
docs: install
	$(BIN)/sphinx-build -W --keep-going -c docs -b html . build/docs
	@echo "open build/docs/docs/index.html"

lint: install
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: install
	$(BIN)/mypy

format: install
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

install: $(INSTALLED)

# torch first and by its exact version: left to the resolver it brings gigabytes of CUDA packages.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || test -n "$(PYTHON)" || \
		{ echo "codctl needs Python 3.11, 3.12 or 3.13: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 3; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
