# Sets itself up: the first target that needs .venv makes it, later ones install nothing again.

# PYTHON names the interpreter for a new .venv: make PYTHON=python3.12 train
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
INSTALLED_DEV = $(VENV)/.installed-dev
UV := $(shell command -v uv)
INSTALL = $(if $(UV),uv pip install --python $(BIN)/python,$(BIN)/pip install)
ARGS ?= --model SimpleNet
SUPPORTED = >=3.11,<3.14
KIND ?= numbers
DEST ?= ../$(NAME)

define test_with
$(or $(PYTHON),python3) -m venv --clear .venv-$(1)
.venv-$(1)/bin/pip install --quiet uv
.venv-$(1)/bin/uv pip install --python .venv-$(1)/bin/python --resolution $(2) -e '.[dev]'
.venv-$(1)/bin/python -m pytest
endef

.DEFAULT_GOAL := help
.PHONY: help new train test test-slow test-oldest test-newest errors check format bench release tensorboard locked clean

help:  ## list these targets
	@grep -E '^[a-zA-Z0-9_-]+:.*  ##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

new: .venv-new/.installed  ## make a project of your own: NAME=zebra DEST=../zebra KIND=numbers, table or photos
	PYTHONPATH=src .venv-new/bin/python -m kindling new '$(NAME)' '$(DEST)' --kind '$(KIND)'

train: $(INSTALLED)  ## install what training needs and train; ARGS="--model Net" and the like choose what
	$(BIN)/python scripts/main.py fit $(ARGS)

test: $(INSTALLED_DEV)  ## install what tests need and run them, which takes two or three minutes
	$(BIN)/python -m pytest

test-slow: $(INSTALLED_DEV)  ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-oldest:  ## run the tests with the oldest versions that pyproject.toml allows, in .venv-oldest
	$(call test_with,oldest,lowest-direct)

test-newest:  ## and with the newest, in .venv-newest
	$(call test_with,newest,highest)

errors: $(INSTALLED_DEV)  ## write docs/errors.md anew, from what the tests see
	WRITE_ERRORS=1 $(BIN)/python -m pytest -n 0 -m 'slow or not slow' tests/test_bad_*.py

check: $(INSTALLED_DEV)  ## lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED_DEV)  ## mend what check finds, where a machine can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED_DEV)  ## compare with plain PyTorch; half an hour on two cores, writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

release: $(INSTALLED)  ## build the sdist and the wheel into dist/, and try them without the source tree
	$(BIN)/python scripts/release.py

tensorboard: $(INSTALLED)  ## show all runs in the browser
	$(BIN)/tensorboard --logdir lightning_logs

locked:  ## make .venv anew with exactly the versions tested, hashes checked
	rm -rf $(VENV)
	$(MAKE) $(INSTALLED_DEV) LOCK="-r requirements.lock"

clean:  ## remove .venv and caches; runs and data stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# What a new project needs, which is little: no torch.
.venv-new/.installed: pyproject.toml
	$(if $(UV),uv venv --seed --clear --python '$(or $(PYTHON),$(SUPPORTED))',$(or $(PYTHON),python3) -m venv --clear) .venv-new
	.venv-new/bin/pip install --quiet 'copier>=9.19,<10' filelock
	touch $@

# What training needs. A stamp is written last, so an interrupted installation starts again.
$(INSTALLED): pyproject.toml
ifdef UV
	test -x $(BIN)/python || uv venv --seed --python '$(or $(PYTHON),$(SUPPORTED))' $(VENV)
else
	@$(or $(PYTHON),python3) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; name one with  make PYTHON=python3.12 ..."; exit 2; }
	test -x $(BIN)/pip || $(or $(PYTHON),python3) -m venv $(VENV)
endif
	$(if $(LOCK),$(INSTALL) --require-hashes $(LOCK))
	$(INSTALL) $(if $(LOCK),--no-deps) -e .
	touch $@

# What the tests need beside it.
$(INSTALLED_DEV): $(INSTALLED)
	$(INSTALL) $(if $(LOCK),--no-deps) -e '.[dev]'
	touch $@
