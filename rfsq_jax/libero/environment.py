"""A LIBERO task as a pure function of (start, actions), with images only on request.

What a policy is shown is exactly what the stock environment returns after `reset` and
`set_init_state`: robosuite then reads its sensors and cameras in the last sub-step but one, some
milliseconds before the step ends.

Axes: S flattened simulator state (time, positions, velocities) · F fixtures · H, W image.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, UInt8

from rfsq_jax.libero.cameras import Cameras
from rfsq_jax.libero.install import quiet
from rfsq_jax.libero.sensors import RobotState, Sensors
from rfsq_jax.libero.stepping import ControlStep
from rfsq_jax.libero.stock import ControlEnv, mujoco
from rfsq_jax.libero.tasks import Start, Task

ACTION_DIM = 7
SETTLE_STEPS = 10
NUM_SUBSTEPS = 25
SENSED_SUBSTEP = 23
"""Where robosuite's 20 Hz sensors fall: its two forced readings at a reset advance their clock."""
NO_OP = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
POLICY_CAMERAS = ("agentview", "robot0_eye_in_hand")


class Environment:
    """One simulated LIBERO task; a context manager."""

    def __init__(self, task: Task, *, cameras: Sequence[str] = (), image_size: int = 256) -> None:
        """Builds the scene (some seconds).

        Args:
          task: from `tasks` or `get_task`.
          cameras: names of the cameras for `render`; none needs no OpenGL.
          image_size: height and width of the images, pixels.

        Raises:
          RenderingError: if cameras are asked for and nothing can render.
          ValueError: for a camera that the scene does not have.
        """
        self.task = task
        self.domain: Any = _build_domain(task)
        self.sim: Any = self.domain.sim
        self.model: Any = self.sim.model._model
        self.data: Any = self.sim.data._data
        with seeded_numpy(0):
            self.domain.reset()
        self._control = ControlStep(self.domain)
        self._sensors = Sensors(self.domain)
        self._fixture_bodies = [
            self.sim.model.body_name2id(fixture.root_body)
            for fixture in self.domain.fixtures_dict.values()
        ]
        self._shown_positions = self.data.qpos.copy()
        self._shown_state = np.zeros(8, np.float32)
        self._cameras = Cameras(self.model, cameras, image_size) if cameras else None

    @property
    def goals(self) -> tuple[tuple[str, ...], ...]:
        """The predicates that success asks for, such as ("on", "akita_black_bowl_1", "plate_1")."""
        return tuple(tuple(goal) for goal in self.domain.parsed_problem["goal_state"])

    @property
    def simulator_state(self) -> Float64[np.ndarray, " s"]:
        """A copy of time, positions and velocities: float64 [S]."""
        return np.concatenate([[self.data.time], self.data.qpos, self.data.qvel])

    @property
    def fixtures(self) -> Float64[np.ndarray, "f 7"]:
        """A copy of the fixtures' poses."""
        bodies = self._fixture_bodies
        return np.concatenate([self.model.body_pos[bodies], self.model.body_quat[bodies]], axis=1)

    def reset(self, start: Start, *, settle_steps: int = SETTLE_STEPS) -> RobotState:
        """Goes to `start`, lets the scene settle, and returns what is then observed.

        Nothing of an earlier episode is left: the same start and actions give the same bits.

        Raises:
          ValueError: if `start` belongs to another scene.
        """
        self._check_start(start)
        mujoco.mj_resetData(self.model, self.data)
        self.model.body_pos[self._fixture_bodies] = start.fixtures[:, :3]
        self.model.body_quat[self._fixture_bodies] = start.fixtures[:, 3:]
        self.sim.set_state_from_flattened(start.state)
        mujoco.mj_forward(self.model, self.data)
        self._control.reset()
        self._shown_positions = self.data.qpos.copy()
        self._shown_state = self._sensors.policy_state()
        for _ in range(settle_steps):
            self.step(NO_OP)
        return self.observe()

    def step(self, action: Float[np.ndarray, " 7"]) -> RobotState:
        """Plays one action (50 ms).

        Args:
          action: [7], see `rfsq_jax.data.episodes.Episode`.

        Raises:
          ValueError: if the action has another shape, or NaN or inf in it.
        """
        self._control.command(_check_action(action))
        self._control.run(SENSED_SUBSTEP)
        self._shown_positions = self.data.qpos.copy()
        self._control.run(1)
        self._shown_state = self._sensors.policy_state()
        self._control.run(NUM_SUBSTEPS - SENSED_SUBSTEP - 1)
        return self.observe()

    def observe(self) -> RobotState:
        """Returns the present observation without stepping."""
        return self._sensors.observe(self._shown_state)

    def success(self) -> bool:
        """Whether the goal holds now, by the benchmark's own predicates."""
        return bool(self.domain._check_success())

    def meets(self, goal: tuple[str, ...]) -> bool:
        """Whether one predicate, such as ("open", region), holds now, as the benchmark has it."""
        return bool(self.domain._eval_predicate(list(goal)))

    def holds(self, thing: str) -> bool:
        """Whether both fingers touch the movable thing of that name."""
        gripper = self.domain.robots[0].gripper
        return bool(self.domain._check_grasp(gripper, self.domain.objects_dict[thing]))

    def holds_something(self) -> bool:
        """Whether both fingers touch one of the things that can be moved."""
        return any(self.holds(thing) for thing in self.domain.objects_dict)

    def render(self) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
        """Renders every camera as the policy sees it: the stock image rotated by 180 degrees.

        Returns:
          uint8 [H, W, 3] by camera name.

        Raises:
          RuntimeError: if the environment was made without cameras.
        """
        if self._cameras is None:
            raise RuntimeError("this environment has no cameras; make it with cameras=(...)")
        self.domain._post_process()
        return self._cameras.render(self._shown_positions)

    def unplace_fixtures(self) -> None:
        """Moves the fixtures to the origin, where a hard reset has them.

        When the benchmark places a thing on a fixture, it adds the fixture's new place to where the
        fixture's regions are.
        """
        self.model.body_pos[self._fixture_bodies] = 0.0
        self.model.body_quat[self._fixture_bodies] = (1.0, 0.0, 0.0, 0.0)

    def close(self) -> None:
        """Frees the simulator and the OpenGL context."""
        if self._cameras is not None:
            self._cameras.close()
            self._cameras = None
        self.domain.close()
        # robosuite's parts refer to each other, so that only the collector frees the 200 MB model.
        gc.collect()

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_start(self, start: Start) -> None:
        expected = {
            "state": (1 + self.model.nq + self.model.nv,),
            "fixtures": (len(self._fixture_bodies), 7),
        }
        for field, shape in expected.items():
            got = getattr(start, field).shape
            if got != shape:
                raise ValueError(
                    f"start.{field} must have shape {shape} for {self.task.name}, got {got}"
                )


@contextlib.contextmanager
def seeded_numpy(seed: int) -> Iterator[None]:
    """Seeds NumPy's global generator, which the benchmark samples from; restores it afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _build_domain(task: Task) -> Any:
    with quiet(), seeded_numpy(0):
        return ControlEnv(
            bddl_file_name=str(task.bddl_file),
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            hard_reset=False,
        ).env


def _check_action(action: np.ndarray) -> Float64[np.ndarray, " 7"]:
    command = np.asarray(action, dtype=np.float64)
    if command.shape != (ACTION_DIM,):
        raise ValueError(f"action must have shape ({ACTION_DIM},), got {command.shape}")
    if not np.isfinite(command).all():
        raise ValueError(f"action must be finite, got {command.tolist()}")
    return command
