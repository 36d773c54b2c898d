"""Speculation says what greedy decoding says, whatever is proposed, and counts what was right."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.heads import decoding
from rfsq_jax.heads.parallel import MainHead
from tests.support.heads import CODES, SHAPE, features, heads, states

pytestmark = pytest.mark.numerics
COARSE = CODES.coarse


@functools.cache
def main_head() -> MainHead:
    return heads().main


@jax.jit
def greedy(seen, state):
    return decoding.greedy(main_head(), seen, state)


@jax.jit
def speculate(proposal, seen, state):
    return decoding.speculate(main_head(), proposal, seen, state)


def inputs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return features(SHAPE.final, seed=seed), states(seed=seed + 1)


def proposals(own: np.ndarray, seed: int, share: float) -> np.ndarray:
    """The main head's own codes, a share of them replaced by anything."""
    rng = np.random.default_rng(seed)
    other = rng.integers(-1, CODES.num_levels + 1, own.shape)
    return np.where(rng.random(own.shape) < share, other, own).astype(np.int32)


def test_greedy_conditions_the_fine_layers_on_its_own_coarse_codes():
    seen, state = inputs(0)
    main = main_head()
    hidden = main.hidden(seen, state)
    coarse = np.asarray(main.coarse(hidden)).argmax(axis=-1)
    fine = np.asarray(main.fine(hidden, coarse)).argmax(axis=-1)
    codes = greedy(seen, state)
    assert codes.dtype == jnp.int32
    np.testing.assert_array_equal(codes, np.concatenate([coarse, fine], axis=-1))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.02, 0.2, 1.0]))
def test_any_proposal_gives_the_codes_of_greedy(seed, share):
    seen, state = inputs(seed)
    codes = np.asarray(greedy(seen, state))
    proposal = proposals(codes[..., :COARSE], seed, share)
    found, _ = speculate(proposal, seen, state)
    np.testing.assert_array_equal(found, codes)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.02, 0.2]))
def test_acceptance_counts_what_was_right(seed, share):
    seen, state = inputs(seed)
    own = np.asarray(greedy(seen, state))[..., :COARSE]
    proposal = proposals(own, seed, share)
    _, acceptance = speculate(proposal, seen, state)
    for layer in range(COARSE):
        assert acceptance.tokens[layer] == (own == proposal)[..., layer].sum()
    wrong_steps = {(b, t) for b, t, _, _ in np.argwhere(own != proposal)}
    for step in range(CODES.horizon):
        assert acceptance.steps[step] == len(own) - sum(t == step for _, t in wrong_steps)
    assert acceptance.chunks == len(own) - len({b for b, _ in wrong_steps})


@pytest.mark.parametrize(("change", "passes"), [(0, 1), (1, 2)])
def test_the_fine_layers_run_again_only_if_something_was_proposed_wrongly(
    change, passes, monkeypatch
):
    calls, fine = [], MainHead.fine

    def counted(self, hidden, codes):
        jax.debug.callback(lambda: calls.append(1))
        return fine(self, hidden, codes)

    seen, state = inputs(0)
    proposal = np.asarray(greedy(seen, state))[..., :COARSE].copy()
    proposal[-1, -1, -1, -1] += change
    monkeypatch.setattr(MainHead, "fine", counted)
    run = jax.jit(lambda *args: decoding.speculate(main_head(), *args))
    jax.block_until_ready(run(proposal, seen, state))
    jax.effects_barrier()
    assert len(calls) == passes
