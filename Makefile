# Two commands do everything on a fresh machine: `make demo` and `make test`. Each sets up what it needs and says what it does.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_FLAGS ?=
# Tests that run side by side: one more than the machine's cores by default, for those that wait for real deadlines.
JOBS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
# Tests start some two hundred Python processes: none should compile the modules of this tree again.
unexport PYTHONDONTWRITEBYTECODE
SAY = @printf '\033[1m==> %s\033[0m\n'

.PHONY: help
help: ## Show this help.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: $(VENV)/.runtime ## Train LeNet on MNIST digits on the embedded local cluster: no Kubernetes, no GPU.
	$(SAY) "Training: oarlock run examples/mnist/"
	@$(BIN)/oarlock run examples/mnist/ $(RUN_FLAGS)

.PHONY: test
test: $(VENV)/.dev control-plane ## Set up everything and run all the tests, against a real kube-apiserver.
	$(SAY) "Checking style, types, layers and generated files"
	@$(MAKE) check
	$(SAY) "Running the tests, $(JOBS) at a time"
	@$(BIN)/pytest -n $(JOBS) $(PYTEST_FLAGS)

.PHONY: control-plane
control-plane: $(VENV)/.dev ## Find or build the Kubernetes control plane that the tests run against (cached).
	$(SAY) "Finding the Kubernetes control plane (built once where none is installed: about 5 minutes)"
	@PYTHONPATH=tests $(BIN)/python -m control_plane --build-only

.PHONY: check
check: $(VENV)/.dev ## Everything but the tests: format, lint, types, layers, generated files, chart, Dockerfile.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m oarlock_api.generate . --check
	$(BIN)/yamllint --strict examples charts/oarlock/values.yaml charts/oarlock/Chart.yaml
	$(BIN)/hadolint Dockerfile

.PHONY: format
format: $(VENV)/.dev ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: generate
generate: $(VENV)/.dev ## Write what is made from the API models and the table of faults: CRDs, the chart's copies, pages.
	$(BIN)/python -m oarlock_api.generate .
	PYTHONPATH=tests $(BIN)/python -m faults.page

.PHONY: bench
bench: $(VENV)/.dev ## Measure: each script prints a table and the ratio to its baseline.
	@for script in $(filter-out bench/numerics.py,$(wildcard bench/*.py)); do printf '\n== %s\n' "$$script"; $(BIN)/python "$$script"; done

.PHONY: numerics
numerics: $(VENV)/.dev ## Train every example with a target, and compare what it reaches (EXAMPLES="mnist brain": only these).
	$(SAY) "Training the examples: oarlock run examples/…"
	@$(BIN)/python bench/numerics.py $(EXAMPLES)

.PHONY: images
images: ## Build the operator's and the trainer's image (needs docker or buildah as BUILDER).
	$(or $(BUILDER),docker) build --target operator --tag oarlock-operator:0.1.0 .
	$(or $(BUILDER),docker) build --target trainer --tag oarlock-trainer:0.1.0 .

.PHONY: pin
pin: ## Rewrite constraints.txt from what is installed now.
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/ @ .*//; s/+cpu$$//' | sort -f; } > constraints.tmp
	@mv constraints.tmp constraints.txt

.PHONY: clean
clean: ## Remove the virtual environment and caches; trained models in oarlock-runs/ stay.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	$(SAY) "Creating the virtual environment $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Oarlock needs Python 3.11 or newer: set PYTHON=…")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(SAY) "Installing Oarlock with torch into $(VENV) (about a minute)"
	@$(BIN)/pip install -qq --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt torch -e '.[trainer]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(SAY) "Installing Oarlock and its development set-up into $(VENV) (one to two minutes)"
	@$(BIN)/pip install -qq --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt torch -e '.[dev]'
	@touch $@ $(VENV)/.runtime
