"""Which episodes are compared on, and how they are split and sampled."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eval.studies.report_card.config import TokenizersConfig
from eval.studies.report_card.data import (
    RUN,
    HeldOut,
    adjacent_rows,
    load_chunks,
    load_episodes,
    spread_runs,
)
from rfsq_jax.libero.demonstrations.bundled import load_bundled
from tests.support import rlds_folders
from tests.support.recorded_actions import smooth_episodes, write_actions


def test_everything_that_is_named_is_taken_together(tmp_path, actions_file):
    other = write_actions(tmp_path / "other.npz", smooth_episodes()[:2])
    rlds = tmp_path / "rlds"
    rlds_folders.write_folder(rlds, [9])
    found = load_episodes([str(actions_file), str(rlds), str(other), "libero_goal"])
    goal = load_bundled("libero_goal")
    assert len(found) == 12 + 1 + 2 + len(goal)
    np.testing.assert_array_equal(found[14].actions, smooth_episodes()[1])
    np.testing.assert_array_equal(found[15].actions, goal[0].actions)


def test_bridge_data_are_known_by_their_layout(tmp_path, monkeypatch):
    rlds_folders.describe(tmp_path, [1], state_dim=7)
    text = (tmp_path / "features.json").read_text()
    (tmp_path / "features.json").write_text(text.replace('"image"', '"image_0"', 1))
    (tmp_path / "bridge-train.tfrecord-00000-of-00001").touch()
    asked = []
    monkeypatch.setattr(
        "eval.studies.report_card.data.read_rlds",
        lambda folder, fields: asked.append(fields) or load_bundled("libero_goal")[:1],
    )
    load_episodes([str(tmp_path)])
    assert [fields.rotation for fields in asked] == ["euler"]


def test_other_dims_in_one_comparison_are_refused(tmp_path, actions_file):
    np.savez(tmp_path / "arms.npz", first=np.zeros((20, 14)))
    with pytest.raises(ValueError, match=r"7 dims, as .*demos.npz has, got 14 in .*arms.npz"):
        load_episodes([str(actions_file), str(tmp_path / "arms.npz")])


def test_a_name_that_is_nothing_is_answered_with_the_suites(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"libero_moon must be a file.*libero_spatial"):
        load_episodes(["libero_moon"])
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist"):
        load_episodes([str(tmp_path / "none.npz")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"features\.json"):
        load_episodes([str(tmp_path / "empty")])


@pytest.mark.parametrize("horizon", [1, 8])
def test_held_out_chunks_are_of_other_episodes(actions_file, horizon):
    config = TokenizersConfig(data=(str(actions_file),), held_out=0.3)
    train, held_out = load_chunks(config, horizon)
    seen = {chunk.tobytes() for chunk in train}
    assert not any(chunk.tobytes() in seen for chunk in held_out.chunks)
    assert train.shape[1:] == held_out.chunks.shape[1:] == (horizon, 7)
    for one, other, near in zip(
        held_out.chunks[:-1], held_out.chunks[1:], held_out.adjacent, strict=True
    ):
        assert np.array_equal(one[1:], other[:-1]) == near or horizon == 1


def test_a_few_episodes_are_fitted_to_and_the_same_ones_held_out(actions_file):
    config = TokenizersConfig(data=(str(actions_file),), held_out=0.3)
    train, held_out = load_chunks(config, 8)
    few, same = load_chunks(dataclasses.replace(config, fit_episodes=2), 8)
    whole = {chunk.tobytes() for chunk in train}
    assert 0 < len(few) < len(train)
    assert all(chunk.tobytes() in whole for chunk in few)
    np.testing.assert_array_equal(same.chunks, held_out.chunks)
    with pytest.raises(ValueError, match="fit_episodes must be 1 to"):
        load_chunks(dataclasses.replace(config, fit_episodes=1000), 8)


def test_at_most_so_many_chunks_are_measured(actions_file):
    config = TokenizersConfig(data=(str(actions_file),), held_out=0.5, curve_chunks=30)
    whole = TokenizersConfig(data=(str(actions_file),), held_out=0.5)
    assert len(load_chunks(config, 8)[1].chunks) == 30
    assert len(load_chunks(whole, 8)[1].chunks) > 60


def test_samples_keep_neighbours_together_and_reach_both_ends():
    rows = spread_runs(10_000, 500)
    assert len(rows) == 500
    assert rows[0] == 0
    assert rows[-1] == 9_999
    assert (np.diff(rows) == 1).sum() == 500 - 500 // RUN
    assert spread_runs(30, 50).tolist() == list(range(30))


def test_rows_are_adjacent_only_where_their_chunks_are(held_out):
    rows = np.array([0, 1, 3, 12, 13, 14])
    split = HeldOut(held_out.chunks, held_out.adjacent.copy(), held_out.space)
    split.adjacent[13] = False
    expected = [True, False, False, split.adjacent[12], False]
    assert adjacent_rows(split, rows).tolist() == expected
