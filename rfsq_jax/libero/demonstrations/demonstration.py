"""A recorded demonstration: labels, what was executed, and what replaying it needs. No simulator.

Axes: N steps · S flattened simulator state · H, W image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from rfsq_jax.data.episodes import Episode
from rfsq_jax.libero.tasks import Start

NO_OP_NORM = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """What the simulator said before each action; in HDF5 files, not in the bundled data.

    Attributes:
      robot_states: float64 [N, 9], fingers, end-effector position, quaternion (x, y, z, w).
      joint_states: float64 [N, 7], radians.
      simulator_states: float64 [N, S].
      images: uint8 [N, H, W, 3] by camera, as a policy sees them; empty if none were rendered.
    """

    robot_states: Float64[np.ndarray, "n 9"]
    joint_states: Float64[np.ndarray, "n 7"]
    simulator_states: Float64[np.ndarray, "n s"]
    images: Mapping[str, UInt8[np.ndarray, "n h w 3"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Demonstration:
    """One successful episode, with all that replaying it needs.

    Attributes:
      suite: the task's suite.
      task_index: the task's place in it.
      task_name: the benchmark's name of the task.
      instruction: the task in words.
      start: where it began, before settling.
      actions: float32 [N, 7], what the expert wanted, on the lattice: the labels.
      executed: float32 [N, 7], what was played; differs from `actions` while disturbed.
      state: float32 [N, 8] before each action, what a policy would have been shown.
      final_state: float64 [S], the simulator after the last action.
      handover: the step at which the expert took over from a policy, whose actions come before
        and are nobody's labels; 0 where the expert did everything.
      trace: the simulator's side of each step, if it was kept.
    """

    suite: str
    task_index: int
    task_name: str
    instruction: str
    start: Start
    actions: Float32[np.ndarray, "n 7"]
    executed: Float32[np.ndarray, "n 7"]
    state: Float32[np.ndarray, "n 8"]
    final_state: Float64[np.ndarray, " s"]
    handover: int = 0
    trace: Trace | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def episode(self) -> Episode:
        """The demonstration as training data."""
        source = f"{self.suite}/{self.task_name}/{self.start.seed}"
        images = self.trace.images if self.trace and self.trace.images else None
        return Episode(self.actions, self.state, self.instruction, source, images)


def count_no_ops(actions: Float32[np.ndarray, "n 7"]) -> int:
    """Counts steps that neither move nor change the gripper, by the published filter's rule.

    The rule compares the gripper with that of the last step that was kept; a first step counts by
    its motion alone.
    """
    still = np.linalg.norm(actions[:, :6], axis=1) < NO_OP_NORM
    count, gripper = 0, None
    for is_still, command in zip(still, actions[:, 6], strict=True):
        if is_still and (gripper is None or command == gripper):
            count += 1
        else:
            gripper = command
    return count
