"""The evaluation loop that everyone has: one episode after the other in the stock environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rfsq_jax.evaluation.log import digest
from rfsq_jax.evaluation.protocol import OFFICIAL_SETTLE_STEPS, Trial
from rfsq_jax.libero.environment import NO_OP, POLICY_CAMERAS
from rfsq_jax.libero.install import quiet
from rfsq_jax.libero.sensors import axis_angle_from_quaternion
from rfsq_jax.libero.tasks import Task, official_init_states
from rfsq_jax.policies import Observations, Policy

Hashes = dict[int, str]
"""Of the actions of each trial, by its number."""


class UsualLoop:
    """The evaluation loop that everyone has, around the stock environment."""

    def __init__(self, task: Task, policy: Policy) -> None:
        """Builds the stock environment."""
        from libero.libero.envs import OffScreenRenderEnv

        size = policy.backbone.spec.image_size
        self._task, self._policy = task, policy
        self._states = official_init_states(task)
        with quiet():
            self._env: Any = OffScreenRenderEnv(
                bddl_file_name=str(task.bddl_file), camera_heights=size, camera_widths=size
            )
        self._env.seed(0)

    def __call__(self, trials: Sequence[Trial]) -> Hashes:
        """Plays trials in order, each after the one with the number before it."""
        return {trial.number: self._play(trial) for trial in trials}

    def close(self) -> None:
        """Frees the environment."""
        self._env.close()

    def _play(self, trial: Trial) -> str:
        with quiet():
            self._env.reset()
        shown = self._env.set_init_state(self._states[trial.number])
        for _ in range(OFFICIAL_SETTLE_STEPS):
            shown, *_ = self._env.step(NO_OP.tolist())
        actions: list[np.ndarray] = []
        while len(actions) < self._task.step_limit:
            for action in self._policy.act(self._observations(shown))[0]:
                shown, _, done, _ = self._env.step(action)
                actions.append(action)
                if done or len(actions) == self._task.step_limit:
                    return digest(np.stack(actions))
        raise AssertionError("the loop ends inside")

    def _observations(self, shown: dict[str, Any]) -> Observations:
        images = [shown[f"{name}_image"][::-1, ::-1] for name in POLICY_CAMERAS]
        rotation = axis_angle_from_quaternion(shown["robot0_eef_quat"])
        state = np.concatenate([shown["robot0_eef_pos"], rotation, shown["robot0_gripper_qpos"]])
        return Observations(
            images=np.stack(images)[None],
            instructions=[self._task.instruction],
            state=state[None].astype(np.float32),
        )
