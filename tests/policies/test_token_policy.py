"""The policy as users hold it, on a backbone of a few products."""

import dataclasses
import threading

import jax
import numpy as np
import pytest

from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.policies import Observations, Policy
from rfsq_jax.policies.token_policy import TokenPolicy
from tests.support.fakes import SPEC, Patches
from tests.support.policies import SMALL, make_parts, observe

pytestmark = pytest.mark.numerics


@pytest.fixture(scope="module")
def policy():
    return TokenPolicy(make_parts(), Patches())


def test_a_chunk_for_every_environment(policy):
    actions = policy.act(observe(3))
    assert actions.shape == (3, policy.horizon, 7)
    assert actions.dtype == np.float32
    assert set(np.unique(actions[..., -1])) <= {-1.0, 1.0}
    assert np.abs(actions).max() <= 1.0


def test_environments_do_not_see_each_other(policy):
    whole = observe(3)
    actions = policy.act(whole)
    for row in range(3):
        alone = Observations(
            whole.images[row : row + 1],
            whole.instructions[row : row + 1],
            whole.state[row : row + 1],
        )
        np.testing.assert_allclose(policy.act(alone)[0], actions[row], atol=1e-5)


def test_pictures_words_and_state_all_matter():
    policy = TokenPolicy(
        make_parts(HeadsConfig(main=SMALL, draft=None, point_estimate="mean")), Patches()
    )
    seen = observe(2)
    base = policy.act(seen)
    changes = {
        "images": 255 - seen.images,
        "instructions": ["something else altogether"] * 2,
        "state": seen.state + 1,
    }
    for field, value in changes.items():
        changed = dataclasses.replace(seen, **{field: value})
        assert np.abs(policy.act(changed) - base).max() > 1e-5, field


@pytest.mark.parametrize("point_estimate", ["mode", "mean"])
def test_speculation_changes_no_action(point_estimate):
    config = HeadsConfig(main=SMALL, draft=SMALL, point_estimate=point_estimate)
    parts, seen = make_parts(config), observe(4)
    greedy = TokenPolicy(parts, Patches()).act(seen)
    np.testing.assert_array_equal(TokenPolicy(parts, Patches(), "speculative").act(seen), greedy)


def test_early_exit_goes_from_all_draft_to_all_main():
    seen = observe(4)
    main = TokenPolicy(make_parts(), Patches()).act(seen)
    never = TokenPolicy(make_parts(threshold=1e9), Patches(), "early_exit").act(seen)
    always = TokenPolicy(make_parts(threshold=-1e9), Patches(), "early_exit").act(seen)
    np.testing.assert_allclose(never, main, atol=1e-5)
    assert np.abs(always - main).max() > 1e-3


@pytest.mark.parametrize("kind", ["bins", "regression"])
def test_the_heads_to_be_beaten_act_too(kind):
    config = HeadsConfig(kind=kind, main=SMALL, draft=None)
    actions = TokenPolicy(make_parts(config, None), Patches()).act(observe(2))
    assert actions.shape == (2, 8, 7)


def test_saved_and_loaded_it_acts_the_same(policy, tmp_path):
    policy.save_pretrained(tmp_path / "p")
    loaded = TokenPolicy.from_pretrained(tmp_path / "p", backbone=Patches())
    np.testing.assert_array_equal(loaded.act(observe()), policy.act(observe()))
    assert loaded.parts.config == policy.parts.config
    assert loaded.parts.shape == policy.parts.shape
    assert loaded.parts.threshold == policy.parts.threshold


def test_threads_get_their_own_answers(policy):
    wanted = [policy.act(observe(2, seed)) for seed in range(6)]
    got = {}

    def work(seed):
        got[seed] = policy.act(observe(2, seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, actions in enumerate(wanted):
        np.testing.assert_array_equal(got[seed], actions)


def test_another_backbone_is_refused():
    for change in ({"version": "ffffffffffffffff"}, {"name": "other"}):
        with pytest.raises(ValueError, match="backbone must be 'patches' of version 0011"):
            TokenPolicy(make_parts(), Patches(dataclasses.replace(SPEC, **change)))


@pytest.mark.parametrize(
    ("parts", "mode", "message"),
    [
        ({}, "beam", "mode must be one of greedy"),
        ({"config": HeadsConfig(main=SMALL, draft=None)}, "speculative", "needs a draft head"),
        ({"threshold": None}, "early_exit", "needs a calibrated threshold"),
    ],
)
def test_modes_that_cannot_work_are_refused(parts, mode, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        TokenPolicy(make_parts(**parts), Patches(), mode)


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("images", np.zeros((3, 2, 8, 8, 3), np.float32), TypeError, "images must be a uint8"),
        ("images", np.zeros((3, 1, 8, 8, 3), np.uint8), ValueError, r"\[B, 2, H, W, 3\]"),
        ("instructions", ["a", "", "c"], ValueError, "instruction 1 must not be empty"),
        ("instructions", ["a", "b", "c" * 600], ValueError, "at most 512 characters, got 600"),
        ("instructions", "abc", TypeError, "sequence of strings"),
        ("instructions", ["a"], ValueError, "one per sample, got 1"),
        ("state", np.full((3, 8), np.nan, np.float32), ValueError, "state must be finite"),
        ("state", np.zeros((3, 7), np.float32), ValueError, r"state must have shape \[3, 8\]"),
    ],
)
def test_bad_observations_are_named(policy, field, value, error, message, unchecked_types):
    with pytest.raises(error, match=message):
        policy.act(dataclasses.replace(observe(), **{field: value}))


def test_the_bundled_policy_acts():
    policy = Policy.from_pretrained("small")
    size = policy.backbone.spec.image_size
    rng = np.random.default_rng(0)
    seen = Observations(
        images=rng.integers(0, 256, (2, 2, size, size, 3), dtype=np.uint8),
        instructions=["pick up the milk and place it in the basket"] * 2,
        state=np.array([[0, 0, 1, np.pi, 0, 0, 0.04, -0.04]] * 2, np.float32),
    )
    actions = policy.act(seen)
    assert actions.shape == (2, 8, 7)
    assert np.abs(actions[0] - actions[1]).max() > 0


CASES = [("tokens", "mean"), ("tokens", "mode"), ("bins", "mode"), ("regression", "mean")]


@pytest.mark.parametrize(("kind", "point_estimate"), CASES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_never_reaches_a_robot(kind, point_estimate, bad):
    config = HeadsConfig(kind=kind, main=SMALL, draft=None, point_estimate=point_estimate)
    parts = make_parts(config, None)
    params = jax.tree.map(lambda leaf: np.full_like(leaf, bad), parts.params)
    policy = TokenPolicy(dataclasses.replace(parts, params=params), Patches())
    expected = f"actions of a {kind} policy must be finite, got NaN or inf for sample 0 .3 of 3."
    with pytest.raises(FloatingPointError, match=expected):
        policy.act(observe(3))


@pytest.mark.parametrize("mode", ["speculative", "early_exit"])
def test_nor_does_it_in_other_modes(mode):
    config = HeadsConfig(main=SMALL, draft=SMALL, point_estimate="mode")
    parts = make_parts(config, threshold=-1e9)
    params = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), parts.params)
    policy = TokenPolicy(dataclasses.replace(parts, params=params), Patches(), mode)
    with pytest.raises(FloatingPointError, match="must be finite"):
        policy.act(observe(1))


def test_statistics_are_checked():
    bad = ProprioStatistics(np.zeros(8, np.float32), np.zeros(8, np.float32))
    with pytest.raises(ValueError, match=r"state\.std must be at least"):
        dataclasses.replace(make_parts(), statistics=bad)


def test_a_state_beyond_float32_is_refused(policy):
    seen = dataclasses.replace(observe(), state=np.full((3, 8), 1e300))
    with pytest.raises(ValueError, match="state must be finite as float32"):
        policy.act(seen)


def test_the_range_is_no_part_of_the_version():
    config = HeadsConfig(kind="bins", main=SMALL, draft=None)
    parts = make_parts(config, None)
    assert parts.space.range is not None
    without = dataclasses.replace(parts, space=dataclasses.replace(parts.space, range=None))
    assert TokenPolicy(parts, Patches()).version == TokenPolicy(without, Patches()).version
