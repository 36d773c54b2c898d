"""Prompts, action tokens and statistics against figures written down from the sources."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rfsq_jax.backbones.openvla import prompts, statistics

LOW = [-0.7454732114076613, -0.6616071462631226, -0.9375, -0.10, -0.20, -0.18, 0.0]
HIGH = [0.9375, 0.8758928775787354, 0.9321428537368774, 0.10, 0.17, 0.14, 1.0]
MASK = [True] * 6 + [False]


def write(folder: Path, proprio: dict[str, list[float]]) -> None:
    entry = {"action": {"q01": LOW, "q99": HIGH, "mask": MASK}, "proprio": proprio}
    (folder / statistics.FILE).write_text(json.dumps({"libero_spatial_no_noops": entry}))


def test_prompt() -> None:
    expected = "In: What action should the robot take to open the drawer?\nOut:"
    assert prompts.prompt_text("Open the Drawer") == expected


def test_prompts_are_padded_at_the_end() -> None:
    ids, lengths = prompts.pad_prompts([[1, 5, 29871], [1] * 9])
    assert ids.shape == (2, 16)
    assert lengths.tolist() == [3, 9]
    assert ids[0].tolist() == [1, 5, 29871] + [prompts.PAD] * 13


def test_action_tokens() -> None:
    tokens = prompts.encode_actions(np.array([0.0, 1.0, -1.0, 3.0]))
    assert tokens.tolist() == [31872, 31744, 31999, 31744]
    decoded = prompts.decode_actions(np.array([31872, 31744, 31999, 5]))
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


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "action must be a table of statistics, got None"),
        ({"action": [1]}, r"action must be a table of statistics, got \[1\]"),
        ({"action": {"q99": [1.0]}}, "action.q01 must be 1 to 1024 numbers, got None"),
        ({"action": {"q01": []}}, r"action.q01 must be 1 to 1024 numbers, got \[\]"),
        ({"action": {"q01": ["a"]}}, r"action.q01 must be 1 to 1024 numbers, got \['a'\]"),
        ({"action": {"q01": [[1.0]]}}, r"action.q01 must be 1 to 1024 numbers, got \[\[1.0\]\]"),
        ({"action": {"q01": [True]}}, r"action.q01 must be 1 to 1024 numbers, got \[True\]"),
        ({"action": {"q01": [1e300]}}, "action.q01 must be 1 to 1024 numbers"),
        (
            {"action": {"q01": [1.0], "q99": [0.0]}},
            "action.q99 must be as long as q01, and nowhere",
        ),
        ({"action": {"q01": [0], "q99": [1, 2]}}, "action.q99 must be as long as q01"),
        ({"action": {"q01": [0], "q99": [1], "mask": 1}}, "action.mask must be 1 booleans, got 1"),
        ({"action": {"q01": [0], "q99": [1], "mask": []}}, "action.mask must be 1 booleans"),
        ({"action": {"q01": [0], "q99": [1], "mask": [1]}}, "action.mask must be 1 booleans"),
        ({"action": {"q01": [0], "q99": [1]}, "proprio": 3}, "proprio must be a table"),
    ],
)
def test_statistics_that_are_none_are_named(tmp_path: Path, entry: Any, message: str) -> None:
    (tmp_path / statistics.FILE).write_text(json.dumps({"libero_spatial": entry}))
    with pytest.raises(ValueError, match=rf"dataset_statistics\.json: libero_spatial: {message}"):
        statistics.read_statistics(tmp_path, "libero_spatial")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff", "is not valid JSON: 'utf-8' codec"),
        (b"[" * 100_000, "is not valid JSON: maximum recursion"),
        (b'{"x": 1, "x": 2}', "is not valid JSON: key 'x' is given twice"),
        (b'{"x": Infinity}', "is not valid JSON: numbers must be finite, got Infinity"),
        (b"[]", "is no table of statistics: list"),
    ],
)
def test_a_file_of_statistics_that_is_none_is_named(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    (tmp_path / statistics.FILE).write_bytes(raw)
    with pytest.raises(ValueError, match=rf"dataset_statistics\.json {message}"):
        statistics.data_sets(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"model": {"type": "x"}}'])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(raw)
    with pytest.raises(ValueError, match=r"tokenizer\.json is (damaged|not valid JSON): .+"):
        prompts.read_tokenizer(tmp_path)


def test_states_are_normalised_and_clipped(tmp_path: Path) -> None:
    write(tmp_path, {"q01": [-0.5] * 8, "q99": [1.5] * 8})
    read = statistics.read_statistics(tmp_path, "libero_spatial_no_noops")
    state = np.array([-0.5, 0.5, 1.5, 9.0, -9.0, 0.5, 0.5, 1.0])
    expected = [-1, 0, 1, 1, -1, 0, 0, 0.5]
    np.testing.assert_allclose(read.normalize_state(state), expected, atol=1e-7)


# LIBERO-Spatial's published statistics, and what the published formulas make of them.
SPATIAL_LOW = [
    -0.7454732114076613,
    -0.6616071462631226,
    -0.9375,
    -0.1071428582072258,
    -0.20678570866584778,
    -0.1842857152223587,
    0.0,
]
SPATIAL_HIGH = [
    0.9375,
    0.8758928775787354,
    0.9321428537368774,
    0.1039285734295845,
    0.17678570747375488,
    0.14571428298950195,
    1.0,
]
SPATIAL_STATE = {
    "q01": [
        -0.2727657300233841,
        -0.23721413239836692,
        0.9160063165426254,
        2.77949666261673,
        -1.3187511622905732,
        -0.41989982962608335,
        0.001503719249740243,
        -0.03989770736545324,
    ],
    "q99": [
        0.13529365032911292,
        0.3629165390133857,
        1.2862326657772063,
        3.2829698753356933,
        0.9332760351896285,
        0.6325724506378171,
        0.039933966137468815,
        -0.001671919699292631,
    ],
}
MIDDLES = [
    0.09601339429616934,
    0.1071428656578064,
    -0.0026785731315612793,
    -0.0016071423888206482,
    -0.015000000596046448,
    -0.019285716116428375,
]
THREE_QUARTERS = [
    0.5167566971480847,
    0.4915178716182709,
    0.4647321403026581,
    0.05116071552038193,
    0.08089285343885422,
    0.06321428343653679,
]


@pytest.fixture
def spatial(tmp_path: Path) -> statistics.Statistics:
    action = {"q01": SPATIAL_LOW, "q99": SPATIAL_HIGH, "mask": MASK}
    entry = {"action": action, "proprio": SPATIAL_STATE}
    (tmp_path / statistics.FILE).write_text(json.dumps({"libero_spatial_no_noops": entry}))
    return statistics.read_statistics(tmp_path, "libero_spatial")


def test_the_published_numbers_in_both_formulas(spatial: statistics.Statistics) -> None:
    """OFT's ranges are wider by 1e-8, of which a has (a + 1) / 2; the gripper stays."""
    normal = np.array([[0.0] * 6 + [0.25], [0.5] * 6 + [1.1]])
    expected = np.array([[*MIDDLES, 0.25], [*THREE_QUARTERS, 1.1]])
    np.testing.assert_allclose(spatial.restore(normal), expected, rtol=0, atol=1e-14)
    wider = [[5e-9] * 6 + [0], [7.5e-9] * 6 + [0]]
    restored = spatial.restore(normal, statistics.EPSILON)
    np.testing.assert_allclose(restored, expected + wider, rtol=0, atol=1e-14)


def test_the_mask_decides_which_dims_are_restored(tmp_path: Path) -> None:
    action = {"q01": [-2.0] * 3, "q99": [4.0] * 3, "mask": [False, True, False]}
    (tmp_path / statistics.FILE).write_text(json.dumps({"x": {"action": action}}))
    read = statistics.read_statistics(tmp_path, "x")
    np.testing.assert_array_equal(read.restore(np.full((1, 3), 0.5)), [[0.5, 2.5, 0.5]])


def test_the_published_numbers_of_a_state(spatial: statistics.Statistics) -> None:
    state = np.array([-0.05, 0.0, 1.1, 3.1, 0.0, -0.1, 0.04, -0.04])
    expected = [
        0.0918299408865494,
        -0.20945840715777994,
        -0.006047630764218201,
        0.27316934812310284,
        0.17116805508413624,
        -0.3920983334471056,
        1.0,
        -1.0,
    ]
    np.testing.assert_allclose(spatial.normalize_state(state), expected, rtol=0, atol=1e-12)


def test_every_action_token_is_the_middle_of_its_bin() -> None:
    """Bins of 2 / 255; encoding a middle gives its token back, the last edge a bin of its own."""
    tokens = np.arange(31745, 32000)
    middles = 1 - (tokens - 31744 - 0.5) * 2 / 255
    np.testing.assert_allclose(prompts.decode_actions(tokens), middles, atol=1e-12)
    np.testing.assert_array_equal(prompts.encode_actions(middles), tokens)
    assert prompts.decode_actions(np.array([31744])) == prompts.decode_actions(tokens)[0]
