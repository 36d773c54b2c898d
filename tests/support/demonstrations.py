"""Made-up demonstrations for tests that need no simulator."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from rfsq_jax.libero.demonstrations.demonstration import Demonstration, Trace
from rfsq_jax.libero.lattice import from_counts
from rfsq_jax.libero.tasks import Start

STATE_SIZE = 11


def make_demonstration(
    seed: int, *, num_steps: int = 6, num_fixtures: int = 2, images: bool = False, task: int = 3
) -> Demonstration:
    """Draws a demonstration whose arrays have the right shapes and types."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(-350, 351, (2, num_steps, 7)).astype(np.int16)
    counts[..., 6] = np.where(rng.uniform(size=(2, num_steps)) < 0.5, -1, 1)
    quaternions = rng.normal(size=(num_steps, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    pictures = rng.integers(0, 256, (num_steps, 8, 8, 3)).astype(np.uint8)
    trace = Trace(
        robot_states=np.concatenate([rng.normal(size=(num_steps, 5)), quaternions], axis=1),
        joint_states=rng.normal(size=(num_steps, 7)),
        simulator_states=rng.normal(size=(num_steps, STATE_SIZE)),
        images={"agentview": pictures} if images else {},
    )
    return Demonstration(
        suite="libero_spatial",
        task_index=task,
        task_name="put_the_cube_on_the_plate",
        instruction="put the cube on the plate",
        start=Start(rng.normal(size=STATE_SIZE), rng.normal(size=(num_fixtures, 7)), seed),
        actions=from_counts(counts[0]),
        executed=from_counts(counts[1]),
        state=rng.normal(size=(num_steps, 8)).astype(np.float32),
        final_state=rng.normal(size=STATE_SIZE),
        trace=trace,
    )


def assert_same(got: Demonstration, expected: Demonstration) -> None:
    """Checks everything but the trace, to the bit."""
    for name in ("suite", "task_index", "task_name", "instruction", "handover"):
        assert getattr(got, name) == getattr(expected, name)
    for name in ("actions", "executed", "state", "final_state"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
        assert getattr(got, name).dtype == getattr(expected, name).dtype
    np.testing.assert_array_equal(got.start.state, expected.start.state)
    np.testing.assert_array_equal(got.start.fixtures, expected.start.fixtures)
    assert got.start.seed == expected.start.seed


def write_original(path: Path, num_demos: int = 11, images: bool = True) -> None:
    """A file with the layout and types of the public ones, and nothing of ours."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["num_demos"] = num_demos
        for number in range(num_demos):
            group = data.create_group(f"demo_{number}")
            group["actions"] = rng.uniform(-1, 1, (4, 7))
            group["states"] = rng.normal(size=(4, 20))
            group["obs/ee_states"] = np.full((4, 6), float(number))
            group["obs/gripper_states"] = rng.normal(size=(4, 2))
            if images:
                group["obs/agentview_rgb"] = rng.integers(0, 256, (4, 6, 6, 3), np.uint8)
                group["obs/eye_in_hand_rgb"] = rng.integers(0, 256, (4, 6, 6, 3), np.uint8)
