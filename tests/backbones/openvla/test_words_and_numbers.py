"""Prompts, action tokens and statistics against figures written down from the sources."""

import json
from pathlib import Path

import numpy as np
import pytest

from rfsq_jax.backbones.openvla import statistics, wording

LOW = [-0.7454732114076613, -0.6616071462631226, -0.9375, -0.10, -0.20, -0.18, 0.0]
HIGH = [0.9375, 0.8758928775787354, 0.9321428537368774, 0.10, 0.17, 0.14, 1.0]
MASK = [True] * 6 + [False]


def write(folder: Path, proprio: dict[str, list[float]]) -> None:
    entry = {"action": {"q01": LOW, "q99": HIGH, "mask": MASK}, "proprio": proprio}
    (folder / statistics.FILE).write_text(json.dumps({"libero_spatial_no_noops": entry}))


def test_prompt() -> None:
    expected = "In: What action should the robot take to open the drawer?\nOut:"
    assert wording.prompt_text("Open the Drawer") == expected


def test_prompts_are_padded_at_the_end() -> None:
    ids, lengths = wording.pad_prompts([[1, 5, 29871], [1] * 9])
    assert ids.shape == (2, 16)
    assert lengths.tolist() == [3, 9]
    assert ids[0].tolist() == [1, 5, 29871] + [wording.PAD] * 13


def test_action_tokens() -> None:
    tokens = wording.encode_actions(np.array([0.0, 1.0, -1.0, 3.0]))
    assert tokens.tolist() == [31872, 31744, 31999, 31744]
    decoded = wording.decode_actions(np.array([31872, 31744, 31999, 5]))
    np.testing.assert_allclose(decoded, [0, 0.99608, -0.99608, 0.99608], atol=1e-5)


def test_actions_are_restored(tmp_path: Path) -> None:
    write(tmp_path, {"q01": [0.0] * 7, "q99": [0.0] * 7})
    read = statistics.read_statistics(tmp_path, "libero_spatial")
    ends = read.restore(np.array([[-1.0] * 7, [1.0] * 7]))
    np.testing.assert_allclose(ends, [[*LOW[:6], -1.0], [*HIGH[:6], 1.0]])
    with pytest.raises(ValueError, match="no statistics of the state"):
        read.normalize_state(np.zeros((1, 8)))
    with pytest.raises(ValueError, match="one of libero_spatial_no_noops"):
        statistics.read_statistics(tmp_path, "libero_goal")


def test_states_are_normalised_and_clipped(tmp_path: Path) -> None:
    write(tmp_path, {"q01": [-0.5] * 8, "q99": [1.5] * 8})
    read = statistics.read_statistics(tmp_path, "libero_spatial_no_noops")
    state = np.array([-0.5, 0.5, 1.5, 9.0, -9.0, 0.5, 0.5, 1.0])
    expected = [-1, 0, 1, 1, -1, 0, 0, 0.5]
    np.testing.assert_allclose(read.normalize_state(state), expected, atol=1e-7)
