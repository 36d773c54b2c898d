"""What is said to bad pictures, instructions and states."""

import numpy as np
import pytest

from rfsq_jax.data.observations import (
    MAX_INSTRUCTION,
    check_images,
    check_instructions,
    check_state,
)
from tests.support.images import pictures, states

pytestmark = pytest.mark.usefixtures("unchecked_types")


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (pictures().astype(np.float32), TypeError, "uint8 array, got float32"),
        (pictures().astype(np.int8), TypeError, "uint8 array, got int8"),
        (pictures().tolist(), TypeError, "uint8 array, got list"),
        (None, TypeError, "uint8 array, got NoneType"),
        (pictures()[0], ValueError, r"\[B, 2, H, W, 3\], got \(2, 256, 256, 3\)"),
        (pictures()[:, :1], ValueError, r"\[B, 2, H, W, 3\], got \(2, 1, 256"),
        (pictures()[..., :1], ValueError, r"\[B, 2, H, W, 3\]"),
        (np.moveaxis(pictures(), -1, 2), ValueError, r"got \(2, 2, 3, 256, 256\)"),
        (pictures()[:0], ValueError, r"got \(0, 2"),
        (pictures()[:, :, :, :0], ValueError, r"got \(2, 2, 256, 0, 3\)"),
        (pictures().astype(object), TypeError, "uint8 array, got object"),
        (np.ma.masked_less(pictures(), 255), ValueError, "whole, got 'masked pixels'"),
    ],
)
def test_bad_images_are_named(images, error, message):
    with pytest.raises(error, match=f"images must .*{message}"):
        check_images(images, cameras=2)


@pytest.mark.parametrize(
    ("instructions", "error", "message"),
    [
        ("ab", TypeError, "instructions must be a sequence of strings.* got 'ab'"),
        (["a", 3], TypeError, "sequence of strings"),
        (["a", b"b"], TypeError, "sequence of strings"),
        (["a", None], TypeError, "sequence of strings"),
        (None, TypeError, "sequence of strings.* got None"),
        ({"a": 1, "b": 2}, TypeError, "sequence of strings"),
        ((each for each in "ab"), TypeError, "sequence of strings"),
        (["a"], ValueError, "must be 2, one per sample, got 1"),
        (["a", "b", "c"], ValueError, "must be 2, one per sample, got 3"),
        (["a", ""], ValueError, "instruction 1 must not be empty, got ''"),
        (["\n\t ", "b"], ValueError, "instruction 0 must not be empty"),
        (["a" * 513, "b"], ValueError, "instruction 0 .*at most 512 characters, got 513"),
    ],
)
def test_bad_instructions_are_named(instructions, error, message):
    with pytest.raises(error, match=message):
        check_instructions(instructions, 2)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (np.zeros((2, 8), np.int32), TypeError, "float array, got int32"),
        (np.zeros((2, 8)).tolist(), TypeError, "float array, got list"),
        (states(3), ValueError, r"shape \[2, 8\], got \(3, 8\)"),
        (states()[:, :7], ValueError, r"shape \[2, 8\], got \(2, 7\)"),
        (states()[0], ValueError, r"shape \[2, 8\], got \(8,\)"),
        (states().astype(object), TypeError, "float array, got object"),
        (np.ma.masked_less(states(), 9), ValueError, "whole, got 'masked values'"),
        (np.full((2, 8), 1e300), ValueError, r"finite as float32, got \[1e\+300.* in sample 0"),
        (states() * np.nan, ValueError, "finite as float32, got .*nan.* in sample 0"),
        (
            np.diag([0.0, np.inf])[:, [0] * 7 + [1]],
            ValueError,
            "finite as float32, .*inf.* in sample 1",
        ),
    ],
)
def test_bad_states_are_named(state, error, message):
    with pytest.raises(error, match=f"state must .*{message}"):
        check_state(state, 2)


def test_good_inputs_pass():
    check_images(pictures(1, size=7)[:, :, :5], cameras=2)
    check_instructions(("a", "b" * MAX_INSTRUCTION, "碗を置く"), 3)
    for dtype in (np.float16, np.float32, np.float64):
        check_state(states().astype(dtype), 2)
