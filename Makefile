# Everything a person types. Each target does its own set-up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= demo

# One thread per process: the work is spread over processes.
export OMP_NUM_THREADS ?= 1
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1

.PHONY: demo test test-slow check bench bench-table format proto clean

demo: $(READY)
	@rm -rf $(OUT)
	@$(BIN)/fedcode simulate --compare --out $(OUT)
	@$(BIN)/fedcode audit $(OUT) --trials 2000

test: $(READY)
	$(BIN)/python -m pytest -q

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow
	$(BIN)/python -m pytest -q -m 'hypothesis and not slow' --hypothesis-profile=searching

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m tests.benchmarks $(ONLY)

# What the last `make bench ONLY=training` measured, as docs/results.md shows it.
bench-table: $(READY)
	@$(BIN)/python -m tests.benchmarks.training

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the services' messages are in Python.
proto: $(READY)
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
		fedcode/services/*.proto

clean:
	rm -rf $(VENV) demo runs bench.json .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): constraints.txt pyproject.toml server/pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: Python 3.11 or later is needed; try make PYTHON=python3.12" >&2; exit 2; }
	@echo "setting up $(VENV) (once; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[training,dev]' -e ./server -e ./client
	@touch $@
