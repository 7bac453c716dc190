PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: help demo test test-app image lint types format docs wheel fuzz lock audit check clean

help: ## list these commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 16

demo: .venv/.light ## restore the bundled picture and print the gain
	$(BIN)/python -m hrcnn_jax demo

test: .venv/.dev ## run the tests; ARGS="-k jpeg" picks some
	$(BIN)/python -m pytest -n auto --dist loadfile --ignore tests/app/test_page.py --ignore tests/fleet/test_job.py $(ARGS)

test-fleet: .venv/.dev ## test the fleet on a Ray cluster of this machine, killed and finished
	$(BIN)/python -m pytest tests/fleet/test_job.py $(ARGS)

test-app: .venv/.dev ## test the app's page in Chromium, which is installed if there is none
	tools/get_chromium.sh $(BIN)/python
	$(BIN)/python -m pytest tests/app/test_page.py $(ARGS)

lint: .venv/.dev ## check style, formatting and the order of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile

types: .venv/.dev ## check types
	$(BIN)/mypy

format: .venv/.dev ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/.dev ## build the documentation site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: .venv/.dev ## build source distribution and wheel, restore a picture with the wheel alone
	tools/check_wheel.sh $(BIN)/python

fuzz: .venv/.dev ## fuzz all parsers, ten minutes each; ARGS="jpeg --seconds 60" says which and how long
	$(BIN)/python -m fuzz $(ARGS)

image: .venv/.dev ## check the Dockerfile without Docker: run its steps, and the app
	tools/check_image.sh $(PYTHON) $(BIN)/hadolint

lock: .venv/.dev ## pin the versions that are installed, and so tested, with hashes
	$(BIN)/python -m pip freeze --exclude-editable | grep -v ' @ ' > .venv/installed.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --constraint .venv/installed.txt \
		--extra train --extra app --extra fleet --output-file requirements.lock pyproject.toml

audit: .venv/.dev ## ask whether what is pinned has known holes
	$(BIN)/python tools/audit.py

check: lint types docs wheel test test-app test-fleet ## everything a change has to pass

clean: ## remove the environment, caches and builds
	rm -rf .venv .*_cache build dist site *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"hrcnn-jax needs Python 3.11 or newer: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv .venv

# What restoring needs, and what everything needs.
.venv/.light: pyproject.toml | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

.venv/.dev: pyproject.toml requirements-dev.txt | $(BIN)/python
	$(INSTALL) -r requirements-dev.txt
	@touch $@ .venv/.light
