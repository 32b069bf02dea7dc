# Everything a person types here works on a fresh machine with Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENTRIES ?= 20000
SANDBOX ?= sandbox
PYTEST_ARGS ?=
# For example --quick, --mib 200,2000,10000, --only wal, --resume: see --help.
BENCH_ARGS ?=
# More than cores: tests wait for servers more than they reckon. worksteal keeps together what shares a fixture.
PYTEST_WORKERS ?= 4

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo ui test check bench clean

demo: $(VENV)/installed
	$(BIN)/kb-dr demo --dir $(SANDBOX) --entries $(ENTRIES)

ui: $(VENV)/installed
	@exec $(BIN)/kb-dr ui --dir $(SANDBOX) --entries $(ENTRIES)

test: $(VENV)/installed-dev
	scripts/install-test-programs
	scripts/install-bench-programs
	@# Tests start some thousand commands; where nothing writes bytecode, each would compile kb_dr anew.
	$(BIN)/python -m compileall -q kb_dr kb_dr_tests
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-dev
	scripts/install-test-programs
	scripts/install-bench-programs
	$(BIN)/python -m compileall -q kb_dr kb_dr_tests
	$(BIN)/python -m kb_dr_tests.bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[sandbox]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[sandbox,dev]'
	@touch $@ $(VENV)/installed
