# `make demo` and `make test` do all their own set-up in .venv, once.

PYTHON ?= python3
BIN := .venv/bin

# One process a core, each on one thread: threads of several processes would wait for each other.
TEST_ENV := OMP_NUM_THREADS=1
TEST_JOBS := -n auto --dist worksteal

# The version of uv that `make lock` resolves with, in an environment of its own.
UV := uv==0.13.9
LOCK_VENV := build/lock-$(subst ==,-,$(UV))

AUDIT_VENV := build/audit
AUDIT := pip-audit==2.9.0

.PHONY: help setup demo gallery test test-fast test-nightly lint format docs benchmark-models hooks lock sbom audit clean

help:
	@echo 'make demo       train on the included music, compose, make a page that plays'
	@echo 'make gallery    train four runs (about five minutes), and show what they compose: build/gallery'
	@echo 'make test       all tests'
	@echo 'make test-fast  the tests that are not slow'
	@echo 'make test-nightly  all tests with all repetitions (about half an hour)'
	@echo 'make lint       ruff and mypy'
	@echo 'make format     let ruff format and fix'
	@echo 'make docs       the documentation site with the reference of the Python API, links checked: build/docs'
	@echo 'make setup      only make .venv (the others do so when needed)'
	@echo 'make sbom       a software bill of materials of the locked packages, in build/sbom.json'
	@echo 'make audit      look the locked packages up among known vulnerabilities (needs a package index)'
	@echo 'make benchmark-models MUSIC=FOLDER  train and write all tables of the documents (two hours)'
	@echo 'make hooks      install the pre-commit hooks'
	@echo 'make lock       rewrite requirements/lock.txt (UPGRADE=1: with newer versions)'
	@echo 'make clean      remove .venv, build/ and caches; outputs/ stays'
	@echo 'PYTHON=/path/to/python3.12 chooses the Python that .venv is made with.'

setup:
	@PYTHON='$(PYTHON)' sh requirements/install.sh

demo: setup
	@$(BIN)/composer train experiment=best trainer.threads=1
	@$(BIN)/composer report

gallery: setup
	@$(BIN)/python scripts/gallery.py

test: setup
	@$(TEST_ENV) $(BIN)/python -m pytest $(TEST_JOBS)

test-fast: setup
	@$(TEST_ENV) $(BIN)/python -m pytest $(TEST_JOBS) -m 'not slow'

test-nightly: setup
	@$(TEST_ENV) $(BIN)/python -m pytest $(TEST_JOBS) --nightly

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	@$(BIN)/python scripts/docs.py

# Everything that docs/article.md, docs/models.md and docs/benchmarks.md report; MUSIC has krebs.mid and others.
MUSIC ?= ../shared/data
benchmark-models: setup
	$(BIN)/python -m benchmarks.models.main $(STUDIES) --music $(MUSIC)

hooks: setup
	$(BIN)/pre-commit install

lock:
	@test -x $(LOCK_VENV)/bin/uv || { $(PYTHON) -m venv $(LOCK_VENV) && $(LOCK_VENV)/bin/python -m pip install -q $(UV); }
	$(LOCK_VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	  --fork-strategy fewest --generate-hashes --override requirements/lock-overrides.txt \
	  --extra dev --extra docs --extra music21 --extra score --extra audio --extra onnx --extra wandb --extra mlflow --extra rich --extra device-stats \
	  $(if $(UPGRADE),--upgrade) --custom-compile-command 'make lock' \
	  --output-file requirements/lock.txt requirements/lock.in pyproject.toml

sbom: setup
	@$(BIN)/python scripts/sbom.py

audit:
	@test -x $(AUDIT_VENV)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT_VENV) && \
	  $(AUDIT_VENV)/bin/python -m pip install -q $(AUDIT); } || \
	  { echo 'make audit: $(AUDIT) cannot be installed: it needs a package index'; exit 1; }
	@$(AUDIT_VENV)/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements/lock.txt

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
