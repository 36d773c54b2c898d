"""MuJoCo and LIBERO, imported after the OpenGL backend is chosen.

Importing this raises `SimulatorMissingError` where the simulator is not installed. MuJoCo's
compiled modules carry no types, hence `Any`.
"""

from __future__ import annotations

import importlib
from typing import Any

from rfsq_jax.libero.install import require_simulator

require_simulator()

mujoco: Any = importlib.import_module("mujoco")
ControlEnv: Any = importlib.import_module("libero.libero.envs.env_wrapper").ControlEnv
RandomizationError: Any = importlib.import_module("robosuite.utils.errors").RandomizationError
