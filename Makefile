# From a clone to running tests: `make setup`, then `make test`. `make` alone lists what there is.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
ENGINE := scripts/engine

# What was done already: .ready is as new as the installation, .image holds the tag of the image built last.
READY := $(VENV)/.ready
IMAGE := $(VENV)/.image
IMAGE_INPUTS := Dockerfile $(shell find langchain_sandbox -name '*.py' -o -name '*.md' -o -name '*.sh' -o -path '*/agent/native/*')

# Run a command with an engine and the image there; an engine that was started for it is stopped again.
# MAKEFLAGS is emptied because the jobserver of a `make -j` does not reach through a script.
WITH_IMAGE = $(ENGINE) with sh -c 'MAKEFLAGS= $(MAKE) -s image-on-engine && exec "$$@"' sh

.DEFAULT_GOAL := help
.PHONY: help setup image demo test test-unit lint docs bench checklist soak walls engine-stop clean image-on-engine

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## install everything: .venv, a running engine, the sandbox image
	@$(ENGINE) ensure
	@$(MAKE) -s image-on-engine
	@echo "Ready. Next: make demo"

image: $(READY) ## build the sandbox image, where the engine does not have it
	@$(WITH_IMAGE) cat $(IMAGE)

demo: $(READY) ## run examples/quickstart.py
	@$(WITH_IMAGE) $(BIN)/python examples/quickstart.py $(ARGS)

test: $(READY) ## run all tests, on a real engine; ARGS="-k name" picks some
	@scripts/browser
	@$(WITH_IMAGE) $(BIN)/python -m pytest -n 2 --dist loadscope $(ARGS)

test-unit: $(READY) ## run the quick ones of the tests that need no engine
	@$(BIN)/python -m pytest -n auto -m "not slow" tests/unit_tests $(ARGS)

lint: $(READY) ## check style, formatting, types and the floors' imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(READY) ## build the documentation's site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "Open build/site/index.html"

bench: $(READY) ## measure it beside other ways to do the same, in ten minutes; ARGS=--help
	@$(WITH_IMAGE) $(BIN)/python tests/benchmarks/run.py $(ARGS)

checklist: $(READY) ## write docs/checklist.md from what the last `make test` has shown
	@$(WITH_IMAGE) env PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m checklist.page

soak: $(READY) ## have hundreds of runs fail in every way, and look what is left; ARGS=--help
	@$(WITH_IMAGE) env PYTHONPATH=tests:tests/benchmarks $(BIN)/python -m soak.run $(ARGS)

walls: $(READY) ## install gVisor and Podman (Debian, as root), and run the tests that need them
	@scripts/stronger-walls
	@$(WITH_IMAGE) $(BIN)/python -m pytest -rs tests/integration_tests/test_stronger_walls.py $(ARGS)

engine-stop: ## stop the engine that `make setup` started
	@$(ENGINE) stop

clean: ## remove .venv and caches; images stay on the engine
	@rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find langchain_sandbox tests examples scripts -name __pycache__ -prune -exec rm -rf {} +

# The folder is made anew, so that nothing of an older list of dependencies stays in it.
$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12"; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	    if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	        echo "$(PYTHON) cannot make virtual environments. On Debian: sudo apt-get install $$package"; exit 1; \
	    fi; \
	    echo "Installing $$package..."; \
	    log=$$(apt-get update 2>&1 && apt-get install -y --no-install-recommends $$package 2>&1) || { \
	        echo "$$log" | tail -n 20; exit 1; }; }
	@echo "Installing the package and its tools into $(VENV) (about a minute)..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(IMAGE): $(READY) $(IMAGE_INPUTS)
	@$(BIN)/python -m langchain_sandbox.engine.images.build >$@.new
	@mv $@.new $@

# The stamp says that the image was built; only the engine knows that it is still there. Asking it is quick.
image-on-engine:
	@docker image inspect "$$(cat $(IMAGE) 2>/dev/null)" >/dev/null 2>&1 || rm -f $(IMAGE)
	@$(MAKE) -s $(IMAGE)
