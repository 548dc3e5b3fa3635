# `make` lists the targets, which are the lines with two number signs.
#
# Every target sets up what it needs: .venv, the C extension (again after an edit in native/), and
# with root the programs of the system's package manager; without root it ends with the commands
# that install them.

include native/flags.mk

export PYTHON ?= python3
BIN    := .venv/bin
NEED   := packaging/need
# Two on a core: half of the time a test waits, for a disk, a process, an answer that must not come.
# Not where cores are many: each has some 150 MB.
JOBS   ?= $(shell n=$$(nproc); echo $$((n < 8 ? 2 * n : n)))
export PATH := $(PATH):/usr/sbin:/sbin
unexport PYTHONDONTWRITEBYTECODE # each of the tests' hundreds of commands would compile all modules

# Two makes in one tree take turns when they install or build.
LOCK   := $(if $(shell command -v flock),flock .make.lock)

# The three distributions, which depend on each other in this order.
PROJECTS := . ./broker ./firmware_sim

C_SOURCES := $(wildcard native/src/*.c native/src/*/*.c)
C_HEADERS := $(wildcard native/src/*.h native/src/*/*.h native/include/*.h)
C_FILES   := $(shell find native firmware_sim tests bench examples -name '*.[ch]' ! -name '_core.c' 2>/dev/null)

.PHONY: help demo demo-boards test test-long test-all test-packages deb wheels check bench fuzz baseline build format clean tools

CHECKS := $(addprefix check-,lint types c-format c-warnings c-analyzer c-example c-sizes house units)
.PHONY: $(CHECKS)

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## twenty simulated watches learn seven exercises: minutes; needs mosquitto, a C compiler, 250 MB
	@examples/watch/demo

demo-boards: .venv/built ## the same integers on six Cortex-M boards in QEMU; needs a compiler for them and QEMU
	@$(NEED) boards
	$(BIN)/fedling-sim board selftest

test: build tools ## the tests, without the long ones; JOBS=8 on eight processes, ARGS="tests/agent -k session" some of them
	PYTEST_DEBUG_TEMPROOT=$$($(BIN)/python -m tests.support.memory) \
	    $(BIN)/pytest -n $(JOBS) --dist worksteal -m "not long" $(ARGS)

test-long: build tools ## the matrix of builds, the fuzzers, 1,500 random schedules of the services
	PYTEST_DEBUG_TEMPROOT=$$($(BIN)/python -m tests.support.memory) \
	    $(BIN)/pytest -n $(JOBS) --dist worksteal -m long $(ARGS)

test-all: test test-long ## both

# What runs on a device: its wheel, without numpy, with each set of packages that a device may have.
# Debian's sets run all that concerns a device, those between them what touches CBOR and MQTT.
SET     ?= debian12 debian13 cbor2-5.6.0+paho-mqtt-1.6.1 cbor2-5.7.0+paho-mqtt-2.1.0 cbor2-5.8.0+paho-mqtt-1.6.1
test-packages: build tools .venv-packages/bin/pip ## what runs on a device, with Debian 12's and 13's packages and those between; SET=debian13
	rm -rf dist/packages build/lib* build/bdist* */build
	$(LOCK) $(BIN)/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist/packages $(PROJECTS)
	rm -rf */build # a second copy of the source, to whoever reads all of it
	packaging/test-packages .venv-packages/bin dist/packages $(JOBS) $(SET)

ARCH ?= $(shell dpkg --print-architecture)
deb: build ## dist/deb/fedling-agent_*.deb and fedling-broker_*.deb; ARCH=arm64 or armhf for a Raspberry Pi
	@$(NEED) deb processors boot
	ARCH=$(ARCH) packaging/deb $(BIN) dist/deb

wheels: ## dist/wheels/fedling-*.whl for devices with arm64 (64 bits) and armhf (32 bits)
	@$(NEED) deb processors boot
	packaging/cross arm64 dist/wheels
	packaging/cross armhf dist/wheels

# What is missing is installed first: two installations at once would be in each other's way.
check: ## formatters, linters, types, C warnings, sizes, architecture, documents, systemd units
	@$(NEED) compiler python gcc boards systemd-analyze
	@$(MAKE) --no-print-directory --keep-going --jobs=$(JOBS) --output-sync=target $(CHECKS)
	@echo "check: clean"

# Each bench/NAME.py but report.py is one bench: it prints a table, writes bench/results/NAME.json.
ONLY    ?= $(filter-out report __init__,$(basename $(notdir $(wildcard bench/*.py))))
bench: build tools ## every number of the documents; ONLY=kernel one of the benches
	@failed=; for name in $(ONLY); do \
	    echo "== $$name"; $(BIN)/python -m bench.$$name || failed="$$failed $$name"; \
	done; \
	test -z "$$failed" || { echo "bench: failed:$$failed" >&2; exit 1; }

N          ?= 20000
EXECUTIONS ?= 400000
SEED       ?= 1
fuzz: build tools ## N=200000 rightly signed hostile messages through each service, EXECUTIONS=10000000 cases for decoders
	$(BIN)/python -m bench.fuzz $(N) $(EXECUTIONS) $(SEED)

# The sizes of firmware images that check-c-sizes compares with: growth is accepted here.
baseline: build ## accept the sizes of firmware images of today
	@$(NEED) boards
	$(BIN)/python -m bench.firmware_sizes --write

build: .venv/built .venv/dev ## .venv with all that development needs, and the C core again after an edit

format: build ## format Python and C, write the tables of docs/ anew
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)
	$(BIN)/python -m docs.tables

clean: ## remove all that the other targets have made
	rm -rf .venv .venv-packages build dist .make.lock .mypy_cache .pytest_cache .ruff_cache .hypothesis bench/results
	rm -rf *.egg-info */*.egg-info */build native/fedling_native/*.so examples/c/example
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets stand on ---------------------------------------------------------------

# Two steps: who only wants the demo does not wait for what development needs.
.venv/sim: $(addsuffix /pyproject.toml,$(PROJECTS)) setup.py native/build_core.py
	@$(NEED) compiler python
	$(LOCK) sh -euc 'test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv; \
	    $(BIN)/pip install --quiet "setuptools>=77" "cffi>=1.15.1"; \
	    $(BIN)/pip install --quiet --no-build-isolation $(addprefix --editable ,$(PROJECTS))'
	@touch $@

.venv/dev: .venv/sim
	$(LOCK) $(BIN)/pip install --quiet --no-build-isolation --editable ".[dev]"
	@touch $@

# --force, since distutils does not see that a source was removed. The .so is replaced by unlink
# and rename, so a process that runs with the old one goes on with it.
.venv/built: .venv/sim $(C_SOURCES) $(C_HEADERS) native/build_core.py native/flags.mk native/src $(wildcard native/src/*/)
	$(LOCK) $(BIN)/python -W ignore setup.py --quiet build_ext --inplace --force
	@touch $@

.venv-packages/bin/pip:
	"$(PYTHON)" -m venv .venv-packages

tools:
	@$(NEED) mosquitto nginx dbus boards clang processors
	@$(NEED) fuzzer

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
	packaging/check-units $(BIN)
