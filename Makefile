PYTHON ?= python3
EXTRAS ?= sim,small,openvla,ray,dev
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: train policy test test-slow fuzz kills lint format types bundle bundle-shared bundle-ordered objectives clean

train: $(STAMP)
	$(BIN)/python -m train.ae --config configs/robust.py
	$(BIN)/python -m train.ae --config configs/ordered.py

# From the bundled demonstrations to a policy: replays 200 of them for features, trains heads on
# these, then teaches the draft head.
policy: $(STAMP)
	$(BIN)/python -m train.features --config configs/small.py
	$(BIN)/python -m train.heads --config configs/small.py
	$(BIN)/python -m train.draft --policy runs/heads/small/policy

# Most of the time goes into compiling small programs, so these are compiled without optimisation.
test: $(STAMP)
	XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false" \
		$(BIN)/python -m pytest -n 2

# With the programs that users run: what takes minutes, and the laws that rounding could break.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "slow or numerics"

# Damaged files of every format; the table of how they ended goes into docs/reliability.md.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --cases 10000 --seed 0 --workers 2 --output runs/fuzz --write-docs

# What kill -9 at random instants leaves, and what the same command makes of it.
kills: $(STAMP)
	$(BIN)/python -m tests.kills --kills 100 --seed 0 --output runs/kills

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/pyright

# Renews what ships: the tokenizer, the policy, and the figures of the README. The policy takes three
# rounds of DAgger: each trains on more demonstrations that begin where the last policy got to.
bundle: train
	$(BIN)/python -m train.features --config configs/bundled_round1.py
	$(BIN)/python -m train.heads --config configs/bundled_round1.py
	set -e; for suite in libero_spatial libero_object; do \
		$(BIN)/python -m train.demos --suite $$suite --episodes 150 --seed 1 \
			--placement-margin 0.05 --output runs/demos/round2_wide/$$suite; \
		$(BIN)/python -m train.demos --suite $$suite --episodes 150 --seed 2 \
			--placement-margin 0.05 --rollout-policy runs/heads/bundled_round1/policy \
			--output runs/demos/round2_rollout/$$suite; \
	done
	$(BIN)/python -m train.features --config configs/bundled_round2.py
	$(BIN)/python -m train.heads --config configs/bundled_round2.py
	$(BIN)/python -m train.demos --suite libero_spatial --episodes 300 --seed 3 \
		--style nearest_grasp --rollout-policy runs/heads/bundled_round2/policy \
		--output runs/demos/round3_rollout/libero_spatial
	$(BIN)/python -m train.features --config configs/bundled_round3.py
	$(BIN)/python -m train.heads --config configs/bundled_round3.py
	$(BIN)/python -m train.draft --policy runs/heads/bundled_round3/policy \
		--features runs/features/bundled_round3 --max-excess 0.03 --output runs/draft/bundled
	rm -rf rfsq_jax/bundled/tokenizers/libero rfsq_jax/bundled/policies/small
	mkdir -p rfsq_jax/bundled/tokenizers rfsq_jax/bundled/policies .github
	cp -r runs/ae/robust/tokenizer rfsq_jax/bundled/tokenizers/libero
	cp -r runs/draft/bundled/policy rfsq_jax/bundled/policies/small
	cp runs/ae/robust/tokenizer.png runs/heads/bundled_round3/heads.png .github/

# Renews the networks that ordered tokenizers share: longer chunks take more tokens and more time for
# a step, and get fewer steps. Four minutes on an H200, all four at once.
bundle-shared: bundle-shared-8 bundle-shared-16 bundle-shared-32 bundle-shared-64

SHARED_8 := --training.tokens 36 --training.loop.steps 10000
SHARED_16 := --training.tokens 52 --training.loop.steps 6000
SHARED_32 := --training.tokens 64 --training.loop.steps 4000
SHARED_64 := --training.tokens 64 --training.loop.steps 2500 --training.loop.evaluate-every 500

bundle-shared-%: $(STAMP)
	$(BIN)/python -m train.shared --horizon $* $(SHARED_$*) --output runs/shared/$*
	rm -rf rfsq_jax/bundled/shared/$*
	cp -r runs/shared/$*/shared rfsq_jax/bundled/shared/$*

# Renews the ordered tokenizers that ship.
bundle-ordered: train
	$(BIN)/python -m train.ae --config configs/ordered16.py
	$(BIN)/python -m train.ae --config configs/universal.py
	for name in libero-ordered libero-ordered-16 universal; do \
		rm -rf rfsq_jax/bundled/tokenizers/$$name; \
	done
	cp -r runs/ae/ordered/tokenizer rfsq_jax/bundled/tokenizers/libero-ordered
	cp -r runs/ae/ordered16/tokenizer rfsq_jax/bundled/tokenizers/libero-ordered-16
	cp -r runs/ae/universal/tokenizer rfsq_jax/bundled/tokenizers/universal
	cp runs/ae/ordered/tokenizer.png .github/ordered.png

# The table of docs/tokens.md: each term of the objective, trained for a third of the usual steps.
OBJECTIVE_all :=
OBJECTIVE_drawn := --training.objective.prefixes drawn
OBJECTIVE_whole := --training.objective.prefixes whole --training.objective.discount 1
OBJECTIVE_perturbation := --training.objective.perturbation 0.3
OBJECTIVE_balance := --training.objective.balance 0.1
OBJECTIVE_smoothness := --training.objective.smoothness 0.3
OBJECTIVE_policy := --training.objective.perturbation 0.3 --training.objective.smoothness 0.3
OBJECTIVES := all drawn whole perturbation balance smoothness policy

objectives: $(addprefix objective-,$(OBJECTIVES))
	$(BIN)/python -m eval.tokenizers --fit --output runs/objectives \
		--tokenizers $(addprefix runs/ae/objective/,$(OBJECTIVES))

objective-%: $(STAMP)
	$(BIN)/python -m train.ae --config configs/ordered.py --training.loop.steps 2000 --beside \
		--fast-scales $(OBJECTIVE_$*) --output runs/ae/objective/$*

clean:
	rm -rf $(VENV) runs

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@
