# Each target does all its own set-up; a fresh machine needs Python >= 3.11, make and a network.
#
#   make demo        run the demo scenario and say where the picture is
#   make test        the whole test suite
#   make check       ruff, the format of the source, mypy --strict, import layering
#   make coverage    the suite but for slow tests, interpreted, and which share of the lines it runs
#   make fuzz        the Hypothesis machines with 100,000 examples each
#   make bench       the benchmarks: single parts, and W1 and W2 (others: BENCH_ARGS="W3 W4 --repeat 3")
#   make bench-peers W1 and W2 beside ns-3 and ns.py, each in an environment of its own
#   make lowest      a part of the suite on the lowest versions of the libraries that pyproject.toml allows
#   make compiled    build the hot modules with mypyc, in place, and run the suite on them
#   make uncompiled  remove what `make compiled` built, but for what makes the next build short (build/)
#   make clean       remove everything that was built, the environment included

SHELL := /bin/sh
.DEFAULT_GOAL := test

VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n auto --dist loadgroup
COVERAGE ?= .coverage.json
DEMO_DIR ?= .demo/fairness
DEMO_SCENARIO := experiments/demo/scenario.toml

# What stands closest to the libraries: command line, validation, tables, figures, graphs.
LOWEST ?= .venv-lowest
LOWEST_TESTS ?= tests/test_readme.py tests/commands/test_cli.py tests/results/test_results.py \
	tests/results/test_topology_figure.py tests/scenario/test_scenario_errors.py tests/sweep/test_figures.py \
	tests/sweep/test_plan.py tests/topologies/test_topologies.py

RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed

# The first interpreter that is new enough and can make environments.
define FIND_PYTHON
for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	if "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo "$$p"; exit 0; fi; \
done; \
echo "mptcpsim needs Python 3.11 or newer with the venv module (Debian and Ubuntu: apt-get install python3-venv)" >&2; \
exit 1
endef

.PHONY: demo test check coverage fuzz bench bench-peers lowest compiled uncompiled clean

$(BIN)/python:
	@p=$$($(FIND_PYTHON)) && echo "Making the environment $(VENV) with $$p" && "$$p" -m venv $(VENV)

$(RUNTIME): pyproject.toml setup.py | $(BIN)/python
	@echo "Installing mptcpsim and its dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): pyproject.toml setup.py | $(BIN)/python
	@echo "Installing mptcpsim, its dependencies and the development tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(RUNTIME)

demo: $(RUNTIME)
	@$(BIN)/mptcpsim run $(DEMO_SCENARIO) --out $(DEMO_DIR) --force
	@echo "The picture: $(DEMO_DIR)/throughput.png"

test: $(DEV)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_layering.py

# Compiled modules run no line of their source. Slow tests are left out: most of them work in copies of the
# package or in processes of their own, whose lines are not counted.
coverage: $(DEV) uncompiled
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'not slow' --cov --cov-report=json:$(COVERAGE) --cov-report=
	$(BIN)/python -m tests.coverage_table $(COVERAGE)

fuzz: $(DEV)
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m fuzz --hypothesis-profile=fuzz

bench: $(DEV)
	$(BIN)/python -m pytest benchmarks --benchmark-only
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

bench-peers: $(DEV)
	$(BIN)/python benchmarks/peers.py $(BENCH_ARGS)

# The libraries in their lowest versions under newer ones that they need themselves: what those
# deprecate is not our affair, so warnings are no errors here.
lowest: $(DEV)
	@rm -rf $(LOWEST) && $(BIN)/python -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	$(LOWEST)/bin/python -m pytest $(PYTEST_ARGS) -W default $(LOWEST_TESTS)

compiled: $(DEV) uncompiled
	MPTCPSIM_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace
	MPTCPSIM_EXPECT=compiled $(BIN)/python -m pytest $(PYTEST_ARGS)

uncompiled:
	@find mptcpsim -name '*.so' -delete

clean: uncompiled
	rm -rf build $(VENV) $(LOWEST) .demo .coverage $(COVERAGE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks mptcpsim.egg-info
