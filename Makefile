# make demo | test | test-oldest | check | bench [ONLY=kernel] | baseline | build | format | clean
#
# Every target sets up what it needs: .venv, the C extension (again after an edit in native/), and
# with root the programs of the system's package manager; without root it ends with a sentence
# that says what to install.

include native/flags.mk

PYTHON ?= python3
BIN    := .venv/bin
NEED   := packaging/need
JOBS   ?= 2
export PATH := $(PATH):/usr/sbin:/sbin

# Two makes in one tree take turns when they install or build.
LOCK   := $(if $(shell command -v flock),flock .make.lock)

C_SOURCES := $(wildcard native/src/*.c native/src/*/*.c)
C_HEADERS := $(wildcard native/src/*.h native/src/*/*.h native/include/*.h)
C_FILES   := $(shell find native firmware_sim tests bench examples -name '*.[ch]' ! -name '_core.c' 2>/dev/null)

.PHONY: demo test test-oldest check bench baseline build format clean tools

CHECKS := $(addprefix check-,lint types c-format c-warnings c-analyzer c-example c-sizes house units)
.PHONY: $(CHECKS)

demo: build tools
	$(BIN)/python examples/watch/fetch.py
	$(BIN)/fedling-sim run examples/watch/task.toml

test: build tools
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

# What runs on a device: the wheel, with the oldest packages that a device may have, without numpy.
test-oldest: build tools .venv-oldest/bin/pip
	rm -rf dist/oldest build/lib* build/bdist*
	$(LOCK) $(BIN)/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist/oldest .
	.venv-oldest/bin/pip install --quiet --force-reinstall --constraint packaging/debian12.txt \
	    "$$(echo dist/oldest/*.whl)[agent,test]"
	.venv-oldest/bin/pytest -n $(JOBS) tests/protocol tests/agent

check:
	@$(MAKE) --no-print-directory --keep-going $(CHECKS)
	@echo "check: clean"

# Each bench/NAME.py but report.py is one bench: it prints a table, writes bench/results/NAME.json.
ONLY    ?= $(filter-out report __init__,$(basename $(notdir $(wildcard bench/*.py))))
bench: build tools
	@failed=; for name in $(ONLY); do \
	    echo "== $$name"; $(BIN)/python -m bench.$$name || failed="$$failed $$name"; \
	done; \
	test -z "$$failed" || { echo "bench: failed:$$failed" >&2; exit 1; }

# The sizes of firmware images that check-c-sizes compares with: growth is accepted here.
baseline: build
	@$(NEED) boards
	$(BIN)/python -m bench.firmware_sizes --write

build: .venv/built

format: build
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)
	$(BIN)/python -m docs.tables

clean:
	rm -rf .venv .venv-oldest build dist .make.lock .mypy_cache .pytest_cache .ruff_cache .hypothesis bench/results
	rm -rf *.egg-info native/fedling_native/*.so examples/c/example
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets stand on ---------------------------------------------------------------

.venv/installed: pyproject.toml setup.py native/build_core.py
	@$(NEED) compiler
	@$(NEED) python "$(PYTHON)"
	$(LOCK) sh -euc 'test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv; \
	    $(BIN)/pip install --quiet "setuptools>=77" "cffi>=1.15.1"; \
	    $(BIN)/pip install --quiet --no-build-isolation --editable ".[sim,dev]"'
	@touch $@

# --force, since distutils does not see that a source was removed. The .so is replaced by unlink
# and rename, so a process that runs with the old one goes on with it.
.venv/built: .venv/installed $(C_SOURCES) $(C_HEADERS) native/build_core.py native/flags.mk native/src $(wildcard native/src/*/)
	$(LOCK) $(BIN)/python -W ignore setup.py --quiet build_ext --inplace --force
	@touch $@

.venv-oldest/bin/pip:
	"$(PYTHON)" -m venv .venv-oldest

tools:
	@for name in mosquitto boards clang processors; do $(NEED) $$name || exit 1; done

# --- the parts of check ----------------------------------------------------------------------

check-lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: build
	$(BIN)/mypy

check-c-format: build
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)

check-c-warnings:
	@$(NEED) compiler
	@for file in $(C_SOURCES); do \
	    $(CC) $(FDL_CFLAGS) $(FDL_WARNINGS) -Werror -Inative/include -c -o /dev/null $$file || exit 1; \
	done; echo "check-c-warnings: $(words $(C_SOURCES)) files"

check-c-analyzer:
	@$(NEED) gcc
	@for file in $(C_SOURCES); do \
	    gcc $(FDL_CFLAGS) $(FDL_WARNINGS) -Werror -fanalyzer -Inative/include -c -o /dev/null $$file || exit 1; \
	done; echo "check-c-analyzer: $(words $(C_SOURCES)) files"

check-c-example:
	@$(NEED) compiler
	@$(MAKE) --no-print-directory --silent -C examples/c check

check-c-sizes: build
	@$(NEED) boards
	$(BIN)/python -m bench.firmware_sizes --check

check-house: build
	$(BIN)/pytest -q --durations=0 tests/test_architecture.py tests/test_documentation.py

check-units: build
	@$(NEED) systemd-analyze
	packaging/systemd/check $(BIN)
