# Everything a newcomer needs is `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: run test lint lock bench faults

run: $(VENV)/.run
	@exec "$(RUN)" manage.py up

test: lint
	"$(RUN)" -m pytest

lint: $(VENV)/.dev
	"$(RUN)" -m ruff check
	"$(RUN)" -m ruff format --check
	"$(RUN)" -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	SECRET_KEY=types-only "$(RUN)" -m mypy

# For example: make bench BENCH="--quick --streams 50"
bench: $(VENV)/.dev
	"$(RUN)" -m tests.bench $(BENCH)

# For example: make faults FAULTS="--short --seed 7"
faults: $(VENV)/.dev
	"$(RUN)" -m tests.faults $(FAULTS)

lock: $(VENV)/.uv
	"$(RUN)" -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.txt
	"$(RUN)" -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev -o requirements-dev.txt -c requirements.txt pyproject.toml

# uv installs the lock in seconds; it is pinned by hash like the rest.
$(VENV)/.uv: requirements-uv.txt
	@echo "· Python environment"
	@"$(PYTHON)" -m venv "$(VENV)"
	@"$(RUN)" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-uv.txt
	@touch "$@"

$(VENV)/.run: requirements.txt $(VENV)/.uv
	@echo "· Packages (the first time downloads about 300 MB)"
	@"$(RUN)" -m uv pip install --no-deps --require-hashes -r requirements.txt
	@touch "$@"

$(VENV)/.dev: requirements-dev.txt $(VENV)/.uv
	@echo "· Packages with the developers' tools"
	@"$(RUN)" -m uv pip install --no-deps --require-hashes -r requirements-dev.txt
	@touch "$@" $(VENV)/.run
