"""Normalisation, splits, chunks, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.data.action_space import ActionSpace, Normalization
from rfsq_jax.data.episodes import Episode, chunk_episodes, episode_chunks, split_episodes
from rfsq_jax.data.errors import reconstruction_errors


@given(st.integers(0, 99))
def test_normalisation_is_undone(seed):
    actions = np.random.default_rng(seed).normal(size=(50, 8, 7)).astype(np.float32)
    normalization = Normalization.fit(actions)
    restored = normalization.denormalize(normalization.normalize(actions))
    np.testing.assert_allclose(restored, actions, atol=1e-5)
    again = Normalization.from_dict(normalization.to_dict())
    np.testing.assert_array_equal(again.low, normalization.low)


def test_the_quantiles_map_to_one_and_the_gripper_is_left_alone(chunks):
    normalization = Normalization.fit(chunks)
    values = normalization.normalize(chunks).reshape(-1, 7)
    low, high = np.quantile(values[:, :6], [0.01, 0.99], axis=0)
    np.testing.assert_allclose(low, -1, atol=1e-4)
    np.testing.assert_allclose(high, 1, atol=1e-4)
    np.testing.assert_array_equal(values[:, 6], chunks.reshape(-1, 7)[:, 6])
    assert np.abs(values).max() > 1, "nothing is clipped"


def test_a_constant_dim_keeps_its_units(chunks):
    constant = chunks.copy()
    constant[..., 4] = 0.25
    normalization = Normalization.fit(constant)
    np.testing.assert_array_equal(normalization.normalize(constant)[..., 4], 0.0)


def test_bad_statistics_are_refused():
    with pytest.raises(ValueError, match="finite and not empty"):
        Normalization.fit(np.full((3, 7), np.nan, np.float32))
    with pytest.raises(ValueError, match="low must be below high"):
        Normalization(np.ones(7, np.float32), np.ones(7, np.float32))


def test_a_split_is_by_episode_and_stratified(episodes):
    train, held_out = split_episodes(episodes, fraction=0.25, seed=1)
    assert {id(e) for e in train} | {id(e) for e in held_out} == {id(e) for e in episodes}
    assert len(train) == 9
    assert {episode.instruction for episode in held_out} == {"task 0", "task 1", "task 2"}
    again = split_episodes(episodes, fraction=0.25, seed=1)[1]
    assert [e.source for e in again] == [e.source for e in held_out]
    other = split_episodes(episodes, fraction=0.25, seed=2)[1]
    assert [e.source for e in other] != [e.source for e in held_out]


def test_a_split_needs_episodes(episodes):
    with pytest.raises(ValueError, match="got 1 episodes of 1 instructions"):
        split_episodes(episodes[:1])
    with pytest.raises(ValueError, match="fraction must be in"):
        split_episodes(episodes, fraction=1.0)


def test_chunks_are_windows():
    actions = np.arange(10 * 7, dtype=np.float32).reshape(10, 7)
    windows = episode_chunks(actions, horizon=4, stride=3)
    np.testing.assert_array_equal(windows, [actions[0:4], actions[3:7], actions[6:10]])
    assert episode_chunks(actions, horizon=11).shape == (0, 11, 7)


def test_no_chunk_crosses_an_episode(episodes):
    assert len(chunk_episodes(episodes, horizon=8)) == 12 * 53
    with pytest.raises(ValueError, match="at least 61 steps, got 12 shorter"):
        chunk_episodes(episodes, horizon=61)


def test_errors_are_in_robot_units(chunks):
    space = ActionSpace.fit(chunks)
    moved = chunks.copy()
    moved[..., 0] += 0.02
    moved[..., 4] += 0.01
    moved[:, 0, 6] *= -1
    errors = reconstruction_errors(chunks, moved, space)
    assert errors["translation_mm"] == pytest.approx(1.0, rel=1e-4)
    assert errors["rotation_deg"] == pytest.approx(np.degrees(0.005), rel=1e-4)
    assert errors["gripper_flips"] == pytest.approx(1 / 8)
    assert errors["max_error"] == pytest.approx(2.0)
    assert reconstruction_errors(chunks, chunks, space)["mse"] == 0.0


@pytest.mark.parametrize(
    ("actions", "state", "message"),
    [
        (np.zeros((3, 7)), np.zeros((2, 8)), "same number of steps, got 3 and 2"),
        (np.zeros((3, 7)), np.zeros((3, 7)), r"state must have shape \[N, 8\], got \(3, 7\)"),
        (np.zeros(3), np.zeros((3, 8)), r"actions must have shape \[N, A\], got \(3,\)"),
        (np.full((3, 7), np.nan), np.zeros((3, 8)), "actions must be finite.*step 0"),
    ],
)
def test_bad_episodes_are_refused(actions, state, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        Episode(actions, state, "do it", "test/0")
