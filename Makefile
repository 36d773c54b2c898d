PYTHON ?= python3
EXTRAS ?= sim,dev
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: train test test-slow lint format types bundle clean

train: $(STAMP)
	$(BIN)/python -m train.ae --config configs/robust.py

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/pyright

# Renews what ships: the tokenizer of the package and the picture of the README.
bundle: train
	rm -rf rfsq_jax/bundled/libero
	mkdir -p rfsq_jax/bundled .github
	cp -r runs/ae/robust/tokenizer rfsq_jax/bundled/libero
	cp runs/ae/robust/tokenizer.png .github/tokenizer.png

clean:
	rm -rf $(VENV) runs

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@
