"""One control step of the arm: the stock simulator's numbers with a third of its work.

robosuite runs the whole forward pass three times per sub-step and updates its sensors in Python
at each. The position and velocity stages of the three are the same, so they are computed once here;
the constraint solver is still run three times, since each solve starts from the one before and
moves the result in its last bits.

Axes: V velocities of the whole model · J = 7 arm joints.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from jaxtyping import Float

from rfsq_jax.libero.stock import mujoco

SKIP_TO_SOLVER = int(mujoco.mjtStage.mjSTAGE_VEL)


class ControlStep:
    """Applies actions through robosuite's operational-space controller."""

    def __init__(self, domain: Any) -> None:
        """Takes over the robot of a freshly reset robosuite environment."""
        self._sim = domain.sim
        self._model, self._data = domain.sim.model._model, domain.sim.data._data
        self._robot = domain.robots[0]
        self._controller = self._robot.controller
        self._site = self._sim.model.site_name2id(self._controller.eef_name)
        self._torque_limits = self._robot.torque_limits
        self._arm_actuators = self._robot._ref_joint_actuator_indexes
        self._gripper_actuators = self._robot._ref_joint_gripper_actuator_indexes
        limits = self._model.actuator_ctrlrange[self._gripper_actuators]
        self._gripper_centre = 0.5 * (limits[:, 1] + limits[:, 0])
        self._gripper_reach = 0.5 * (limits[:, 1] - limits[:, 0])
        own = vars(self._controller).items()
        self._fresh = {name: copy.deepcopy(value) for name, value in own if name != "sim"}
        self._action = np.zeros(7)
        self._sets_goal = True

    def reset(self) -> None:
        """Forgets every earlier episode: goals, last readings, gripper command."""
        self._controller.__dict__.update(copy.deepcopy(self._fresh))
        gripper = self._robot.gripper
        gripper.current_action = np.zeros_like(gripper.current_action)

    def command(self, action: Float[np.ndarray, " 7"]) -> None:
        """Sets the action that the following sub-steps pursue."""
        self._action = action
        self._sets_goal = True

    def run(self, num_substeps: int) -> None:
        """Advances by sub-steps of 2 ms."""
        for _ in range(num_substeps):
            self._substep()

    def _substep(self) -> None:
        controller = self._controller
        mujoco.mj_step1(self._model, self._data)
        mujoco.mj_forwardSkip(self._model, self._data, SKIP_TO_SOLVER, 1)
        # Right after a reset the stock controller still holds its readings from the rest pose.
        if controller.new_update:
            mujoco.mj_forwardSkip(self._model, self._data, SKIP_TO_SOLVER, 1)
            self._refresh_readings()
        if self._sets_goal:
            controller.set_goal(self._action[:6])
            self._sets_goal = False
        torques = np.clip(controller.run_controller(), *self._torque_limits)
        opening = self._robot.gripper.format_action(self._action[6:])
        control = self._data.ctrl
        control[self._gripper_actuators] = self._gripper_centre + self._gripper_reach * opening
        control[self._arm_actuators] = torques
        mujoco.mj_step2(self._model, self._data)

    def _refresh_readings(self) -> None:
        """`Controller.update` without its forward pass; same expressions, so the same bits."""
        model, data, controller = self._model, self._data, self._controller
        arm = controller.qvel_index
        translation, rotation = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, translation, rotation, self._site)
        controller.ee_pos = np.array(data.site_xpos[self._site])
        controller.ee_ori_mat = np.array(data.site_xmat[self._site].reshape([3, 3]))
        controller.ee_pos_vel = np.dot(translation, data.qvel)
        controller.ee_ori_vel = np.dot(rotation, data.qvel)
        controller.joint_pos = np.array(data.qpos[controller.qpos_index])
        controller.joint_vel = np.array(data.qvel[arm])
        controller.J_pos = np.array(translation[:, arm])
        controller.J_ori = np.array(rotation[:, arm])
        controller.J_full = np.array(np.vstack([controller.J_pos, controller.J_ori]))
        mass = np.ndarray(shape=(model.nv, model.nv), dtype=np.float64, order="C")
        mujoco.mj_fullM(model, mass, data.qM)
        controller.mass_matrix = mass[arm, :][:, arm]
        controller.new_update = False
