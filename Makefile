# `make demo` and `make test` set themselves up in .venv; nothing else is needed but Python ≥ 3.10.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt

.PHONY: demo test test-all lint bench docs clean

demo: .venv/ready
	.venv/bin/python scripts/demo.py

# one test process a core, each on one thread
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses logical --dist worksteal

test: .venv/ready-dev
	$(PYTEST) -m "not slow"

test-all: .venv/ready-dev
	$(PYTEST)

lint: .venv/ready-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/ready-dev
	for script in benchmarks/*.py; do .venv/bin/python $$script || exit 1; done

# the pages of docs as a site in build/site; a broken link fails
docs: .venv/ready
	$(PIP) --editable '.[docs]'
	.venv/bin/zensical build --clean --strict

# --no-compile: modules are compiled when first imported, which saves a minute of installing
.venv/ready: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/ready-dev: .venv/ready
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build dist
