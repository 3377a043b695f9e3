# The workshop's commands. Every target that needs Python makes the environment first; that takes no time once it is there.

VENV ?= .venv
IMAGE ?= evernas:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
DOCKER ?= docker

bin := $(VENV)/bin
# A process a core, at most four. A file's tests stay together, for they share what takes long to make; files are taken
# in order, since those with the fewest tests, whole cycles, are not the quickest to leave for last.
pytest := $(bin)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
coverage := --cov --cov-report=term

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-all chaos check lint types imports format constraints image clean

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.installed ## Make .venv and install evernas with all that it needs

demo: setup ## Run one full cycle on the census data: search, retrain, audit, deploy
	$(bin)/evernas run examples/adult/spec.yaml --force

test: setup ## Run the fast tests
	$(pytest) -m "not slow and not chaos"

test-all: setup ## Run all tests, those that take minutes too, with coverage
	$(pytest) $(coverage)

chaos: setup ## Kill, cut off and fill up what can be, and write what was survived to chaos.json
	$(bin)/python -m tests.chaos.run

check: lint types imports ## Run every check that is not a test

lint: setup ## Check style and formatting (ruff)
	$(bin)/ruff check
	$(bin)/ruff format --check

types: setup ## Check types (mypy, strict)
	$(bin)/mypy

imports: setup ## Check the direction of imports (import-linter)
	$(bin)/lint-imports

format: setup ## Format the code and fix what can be fixed
	$(bin)/ruff check --fix
	$(bin)/ruff format

constraints: setup ## Write the installed versions to constraints.txt
	@frozen=$$($(bin)/python -m pip freeze --all --exclude pip --exclude-editable) \
		&& { sed '/^#/!d' constraints.txt; echo "$$frozen" | sed 's/+[^+]*$$//' | LC_ALL=C sort -f; } > constraints.txt.new \
		&& mv constraints.txt.new constraints.txt

image: ## Build the container image
	$(DOCKER) build --tag $(IMAGE) --build-arg IMAGE=$(IMAGE) .

clean: ## Remove caches and build products; keeps .venv and runs
	rm -rf build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

$(VENV)/.installed: pyproject.toml constraints.txt | $(bin)/python
	@echo "Installing into $(VENV); the first time takes a few minutes and about 2 GB"
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(bin)/python:
	@for python in python3.11 python3.12 python3.13 python3; do \
		if $$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo "needs Python 3.11, 3.12 or 3.13 with its venv module on PATH (on Debian: apt install python3-venv)" >&2; exit 1
