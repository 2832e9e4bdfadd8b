# Needs Python 3.11 or newer, pip and make; everything else comes from the package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RECIPE ?= recipes/s2m2_pol.toml

.PHONY: demo test test-browser faults lint docs clean resume-peers \
	bench bench-step bench-data bench-startup bench-frozen bench-s2m2

demo: $(VENV)/.installed
	$(BIN)/engine run $(RECIPE)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term --cov-fail-under=90

# The report and the site in a real browser. Kept apart from the suite: it needs Debian's chromium, which it installs if it may.
test-browser: $(VENV)/.installed-browser
	ENGINE_BROWSER=$$(command -v chromium) $(BIN)/python -m pytest -q tests/browser

# A short slice of it runs in `make test`. More: make faults FAULTS="--seed 3 --faults 1000"
faults: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m faults.campaign $(FAULTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation as a site: build/site, to be read with `python -m http.server --directory build/site`.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# constraints.txt holds the versions that the figures in README were measured with.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[stereo]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[browser]"
	command -v chromium > /dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)
	touch $@

# How runs of this engine and of other trainers resume: docs/resume_peers.md. Each trainer in an environment of its own.
PEERS := accelerate lightning mmengine transformers

resume-peers: $(VENV)/.installed $(PEERS:%=.venv-peers-%/.installed)
	nice $(BIN)/python benchmarks/resume/measure.py --write docs/resume_peers.md

.venv-peers-%/.installed: benchmarks/resume/requirements-%.txt benchmarks/resume/constraints.txt
	$(PYTHON) -m venv .venv-peers-$*
	.venv-peers-$*/bin/pip install --quiet --constraint benchmarks/resume/constraints.txt --requirement $<
	touch $@

# Every speed that this repository claims, measured here, in an environment of its own with what it is compared with.
BENCH := .venv-bench/bin/python
bench: bench-step bench-frozen bench-s2m2 bench-startup bench-data

# Microseconds a step over a plain loop, ours and other trainers': the tables in docs/bench.md.
bench-step: .venv-bench/.installed
	OMP_NUM_THREADS=1 $(BENCH) benchmarks/step/measure.py --write docs/bench.md

# How fast samples are read from each way to keep them, and their size: the table in docs/data.md.
bench-data: .venv-bench/.installed
	OMP_NUM_THREADS=1 nice $(BENCH) benchmarks/data/measure.py --write docs/data.md

# How long the command line takes to answer: the table in docs/bench_startup.md. To be run on a quiet machine.
bench-startup: $(VENV)/.installed
	$(BIN)/python benchmarks/startup.py --write docs/bench_startup.md

# What a frozen base costs in a step: with its graph, without, and read from the cache (docs/frozen_cache.md).
bench-frozen: $(VENV)/.installed
	OMP_NUM_THREADS=1 nice $(BIN)/python benchmarks/frozen.py

# Time and memory of the S2M2 network and of what speeds its steps up: docs/bench_s2m2.md. BEFORE is what to compare with.
BEFORE ?= 032954d

bench-s2m2: $(VENV)/.installed
	OMP_NUM_THREADS=1 nice $(BIN)/python benchmarks/s2m2/measure.py --before $(BEFORE) --write docs/bench_s2m2.md

CONSTRAINTS := constraints.txt benchmarks/constraints.txt benchmarks/resume/constraints.txt
.venv-bench/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv-bench
	$(BENCH) -m pip install --quiet $(CONSTRAINTS:%=--constraint %) --editable ".[bench]"
	touch $@

clean:
	rm -rf $(VENV) .venv-peers-* .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* build
