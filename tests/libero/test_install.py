import importlib.util
import os
import subprocess
import sys

import pytest

from rfsq_jax.libero import install

needs_simulator = pytest.mark.skipif(
    importlib.util.find_spec("libero") is None, reason="the simulator is not installed"
)


@pytest.fixture(autouse=True)
def _forget_earlier_answers():
    install.require_simulator.cache_clear()
    install.rendering_backend.cache_clear()
    yield
    install.require_simulator.cache_clear()
    install.rendering_backend.cache_clear()


def test_a_missing_simulator_says_what_to_install(monkeypatch):
    monkeypatch.setattr(install, "PACKAGES", ("libero_is_not_here", "sys"))
    with pytest.raises(install.SimulatorMissingError, match=r"libero_is_not_here.*rfsq-jax\[sim\]"):
        install.require_simulator()


def test_no_opengl_says_what_to_install(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(install, "can_render", lambda backend: False)
    with pytest.raises(install.RenderingError, match=r"libegl1.*libosmesa6"):
        install.require_rendering()


def test_the_first_backend_that_draws_is_chosen(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(install, "can_render", lambda backend: backend == "osmesa")
    assert install.rendering_backend() == "osmesa"


def test_the_users_choice_is_the_only_one_tried(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(install, "can_render", lambda backend: backend == "egl")
    with pytest.raises(install.RenderingError, match=r"tried osmesa\)"):
        install.require_rendering()


def test_drawing_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    monkeypatch.setattr(install, "can_render", pytest.fail)
    with pytest.raises(install.RenderingError, match="unset MUJOCO_GL"):
        install.require_rendering()


def test_a_backend_that_does_not_exist_cannot_draw():
    assert not install.can_render("no_such_backend")


@needs_simulator
def test_physics_needs_no_opengl():
    program = (
        "from rfsq_jax.libero.environment import Environment\n"
        "from rfsq_jax.libero.install import RenderingError\n"
        "from rfsq_jax.libero.tasks import get_task\n"
        "from rfsq_jax.libero.placements import random_start\n"
        "task = get_task('libero_object', 0)\n"
        "env = Environment(task)\n"
        "env.reset(random_start(env, 0), settle_steps=1)\n"
        "try:\n"
        "    Environment(task, cameras=('agentview',))\n"
        "except RenderingError:\n"
        "    print('no pictures')\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"MUJOCO_GL": "disabled"},
    )
    assert finished.stdout.strip() == "no pictures"


@needs_simulator
def test_importing_the_environment_prints_nothing():
    finished = subprocess.run(
        [sys.executable, "-c", "import rfsq_jax.libero.environment"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == ""
    assert finished.stderr == ""


def test_the_library_does_not_import_the_simulator():
    program = (
        "import sys, rfsq_jax.libero.demonstrations.bundled, rfsq_jax.libero; "
        "print('mujoco' in sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "False"
