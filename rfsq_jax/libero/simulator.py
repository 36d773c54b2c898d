"""MuJoCo and LIBERO, imported after the OpenGL backend is chosen; modules that simulate start here.

Importing this raises `SimulatorMissingError` where the simulator is not installed.
"""

from rfsq_jax.libero.install import require_simulator

require_simulator()

import mujoco  # noqa: E402
from libero.libero.envs.env_wrapper import ControlEnv  # noqa: E402
from robosuite.utils.errors import RandomizationError  # noqa: E402

__all__ = ["ControlEnv", "RandomizationError", "mujoco"]
