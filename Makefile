PYTHON ?= python3
EXTRAS ?= sim,small,openvla,dev
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: train policy test test-slow lint format types bundle clean

train: $(STAMP)
	$(BIN)/python -m train.ae --config configs/robust.py

# From the bundled demonstrations to a policy: replays 200 of them for features, trains heads on
# these, then teaches the draft head.
policy: $(STAMP)
	$(BIN)/python -m train.features --config configs/small.py
	$(BIN)/python -m train.heads --config configs/small.py
	$(BIN)/python -m train.draft --policy runs/heads/small/policy

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

# Renews what ships: tokenizer and policy of the package, and the pictures of the README.
bundle: train
	$(BIN)/python -m train.features --config configs/lead.py
	$(BIN)/python -m train.heads --config configs/lead.py
	set -e; for suite in libero_spatial libero_object; do \
		$(BIN)/python -m train.demos --suite $$suite --episodes 150 --seed 1 --widen 0.05 \
			--output runs/demos/wide/$$suite; \
		$(BIN)/python -m train.demos --suite $$suite --episodes 150 --seed 2 --widen 0.05 \
			--lead runs/heads/lead/policy --output runs/demos/led/$$suite; \
	done
	$(BIN)/python -m train.features --config configs/varied.py
	$(BIN)/python -m train.heads --config configs/varied.py
	$(BIN)/python -m train.demos --suite libero_spatial --episodes 300 --seed 3 --style near \
		--lead runs/heads/varied/policy --output runs/demos/again/libero_spatial
	$(BIN)/python -m train.features --config configs/bundled.py
	$(BIN)/python -m train.heads --config configs/bundled.py
	$(BIN)/python -m train.draft --policy runs/heads/bundled/policy \
		--features runs/features/bundled --max-excess 0.03 --output runs/draft/bundled
	rm -rf rfsq_jax/bundled/tokenizers/libero rfsq_jax/bundled/policies/small
	mkdir -p rfsq_jax/bundled/tokenizers rfsq_jax/bundled/policies .github
	cp -r runs/ae/robust/tokenizer rfsq_jax/bundled/tokenizers/libero
	cp -r runs/draft/bundled/policy rfsq_jax/bundled/policies/small
	cp runs/ae/robust/tokenizer.png runs/heads/bundled/heads.png .github/

clean:
	rm -rf $(VENV) runs

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@
