# Everything a person does here; `make help` lists it. Needs only Python 3.11 or newer.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PORT   ?= 3000

# State folder; must be absolute for the servers.
export PERENNIAL_HOME ?= $(CURDIR)/var
export DAGSTER_HOME   ?= $(PERENNIAL_HOME)/dagster
export PYTHONPATH     := $(CURDIR)
# Nothing phones home, and numerical threads do not spin against each other (resources/settings.py).
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export DAGSTER_DISABLE_TELEMETRY := 1
export ORT_DISABLE_TELEMETRY := 1
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export DAGSTER_EVENT_BATCH_SIZE ?= 500
export PYTHONWARNINGS ?= ignore

.DEFAULT_GOAL := help
.PHONY: help setup extras demo dev mlflow replay backtest bench test test-spark test-fast lint format lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## make the virtual environment with the locked packages

# A new environment when the lock changes; --no-deps because the lock names every package with its hash.
$(READY): requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: set PYTHON to a Python 3.11 or newer"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV), once; takes some minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

extras: $(READY) ## also what only some tests and measurements need: Spark (wants Java) and Feast's DuckDB store
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-extras.lock

demo: $(READY) ## replay some weeks: a model is trained, a check fails, a retraining is triggered and decided
	@$(BIN)/python -m pipelines.replay --demo
	@echo; echo "Look at all of it in Dagster's UI:  make dev   then open http://localhost:$(PORT)"

mlflow: $(READY) ## MLflow on port 5000: runs, models and versions
	@$(BIN)/mlflow ui --backend-store-uri sqlite:///$(PERENNIAL_HOME)/mlflow/mlflow.db --port 5000 --workers 1

dev: $(READY) ## Dagster's UI and daemon on port 3000
	@$(BIN)/python -m pipelines.instance
	@$(BIN)/dagster dev -w workspace.yaml -p $(PORT)

replay: $(READY) ## replay the year under every policy and write the scoreboard (about an hour)
	@$(BIN)/python -m pipelines.replay

backtest: $(READY) ## the year under every retraining policy, false alarms, days to detect faults (about an hour)
	@$(BIN)/python -m pipelines.backtest
	@$(BIN)/python -m benchmarks.policies $(PERENNIAL_HOME)/backtest

bench: $(READY) ## measure speed and memory into benchmarks/results.json
	@$(BIN)/python -m benchmarks.run

test: $(READY) ## all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-spark: extras ## the test of the Spark store (wants Java)
	@$(BIN)/python -m pytest tests/feature_repo/test_spark_store.py

test-fast: $(READY) ## the tests that take less than ten seconds
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(READY) ## style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-emit-index-url --no-annotate --group dev

lock: ## resolve the lock files again (needs uv)
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --extra spark --group compare -c requirements.lock pyproject.toml -o requirements-extras.lock

clean: ## remove the state folder's replays and caches; keeps var/ otherwise
	rm -rf $(PERENNIAL_HOME)/replay $(PERENNIAL_HOME)/bench .pytest_cache .mypy_cache .ruff_cache
