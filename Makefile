# `make run` and `make test` do all of their own set-up. The other targets are for those who work on the gateway.
SHELL := /bin/bash
# packages are installed without bytecode, which the first import writes: without it every start would take twice as long
unexport PYTHONDONTWRITEBYTECODE
# another Python's modules would be imported instead of ours
unexport PYTHONPATH PYTHONHOME
PYTHON := .venv/bin/python
DEV := requirements-dev.txt requirements.txt
MODEL_PORT ?= 8081
# tests wait as much as they compute, and PostgreSQL has a hundred connections: from four to eight processes
TEST_PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? 4 : n > 8 ? 8 : n)))
CSS := .venv/bin/css-beautify --indent-size=2 --end-with-newline
.PHONY: help run test clients lint format types e2e bench bench-compare profile audit soak attack screenshots model stop-model lock \
	compress vendor translations

help:
	@echo "make run         start the gateway on this machine: http://127.0.0.1:$${PORT:-8000}"
	@echo "make test        every test, on SQLite and PostgreSQL; ARGS='-k name' chooses"
	@echo "make clients     SDKs and coding agents, as npm and pip bring them, through a gateway; they are installed once;"
	@echo "                 ARGS='-m short' takes those that CI runs"
	@echo "make lint        ruff: rules and format; the format of templates and stylesheet"
	@echo "make format      write that format"
	@echo "make types       mypy"
	@echo "make e2e         the browser tests alone"
	@echo "make bench       measure the gateway against a plain proxy; ARGS=--scale: with more keys, rows, workers"
	@echo "make bench-compare ARGS='A.json B.json'   what changed from one run to the other"
	@echo "make profile     a flame graph for each scenario of the benchmark; ARGS='--scenario request' chooses"
	@echo "make audit       everything goes wrong at once for ten minutes; then every request is reconciled"
	@echo "make soak        20,000 streams, half of them dropped: nothing of them may stay behind"
	@echo "make attack      what one customer can do to another: every attack we know, and how long the other one waits"
	@echo "make screenshots pictures of every page and state, light and dark, 1280 and 390 px wide, checked by axe-core"
	@echo "make model       install and start a small real model (290 MB), as a channel; make stop-model ends it"
	@echo "make compress    write the .gz beside each text of static/, which is what browsers get; make format does it too"
	@echo "make translations   bring the texts of pages into the catalogues of bridge/translations, and compile these"
	@echo "make vendor      for maintainers: bring static/vendor from npm, and of Tabler what the pages use"
	@echo "make lock        write the lock files anew, from what requirements*.in, scripts/ and tests/ ask for"

run:
	@scripts/install.sh requirements.txt
	@exec $(PYTHON) -m bridge.ops.setup

test:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m pytest -n $(TEST_PROCESSES) -m "not clients" $(ARGS)

clients:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m pytest -n 2 tests/sdks tests/agents -m clients $(ARGS)

e2e:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m pytest -m browser $(ARGS)

lint:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/djangofmt --check templates
	$(CSS) static/bridge.css | diff static/bridge.css -

format:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m ruff format .
	.venv/bin/djangofmt templates
	$(CSS) --replace static/bridge.css
	@$(MAKE) --silent compress

compress:
	@gzip -9nkf static/*.css static/*.js static/vendor/tabler/*.css

vendor:
	@scripts/vendor.sh

types:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m mypy

bench:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m bench $(ARGS)

bench-compare:
	@scripts/install.sh $(DEV)
	@$(PYTHON) -m bench.results $(ARGS)

profile:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m bench --profile $(ARGS)

audit:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m tests.audit $(ARGS)

soak:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m tests.soak $(ARGS)

attack:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m tests.attack $(ARGS)

screenshots:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m tests.browser $(ARGS)

model:
	@scripts/install.sh requirements.txt
	@scripts/model.sh start $(MODEL_PORT)

stop-model:
	@scripts/model.sh stop $(MODEL_PORT)

# The second lock is held to the versions of the first. Extras stay in: without them pip takes `coverage[toml]` for a
# package that nobody pinned, and stops as soon as a newer one is released.
UV_VERSION := 0.13.9
COMPILE := .venv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-strip-extras
NPM_LOCK := npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund
lock:
	@scripts/install.sh $(DEV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(COMPILE) -o requirements.txt requirements.in
	$(COMPILE) -c requirements.txt -o requirements-dev.txt requirements-dev.in
	$(COMPILE) -o scripts/model-requirements.txt scripts/model-requirements.in
	for folder in tests/sdks/python tests/sdks/apart/* tests/agents/python/*; do \
	  $(COMPILE) -o $$folder/requirements.txt $$folder/requirements.in || exit 1; done
	for folder in scripts/node tests/browser/node tests/sdks/node tests/agents/node/*; do \
	  (cd $$folder && $(NPM_LOCK)) || exit 1; done

translations:
	@scripts/install.sh $(DEV)
	$(PYTHON) -m scripts.translations
