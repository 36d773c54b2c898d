"""Settings that every test runs under; eight CPU devices, so that sharded code is sharded."""

import atexit
import gc
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" not in os.environ:
    # What several modules, workers or commands compile alike is compiled once in a run; the folder
    # is a fresh one, so that nothing of another run is tested.
    programs = tempfile.TemporaryDirectory(prefix="rfsq-jax-programs-")
    atexit.register(programs.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

from collections.abc import Iterator

import hypothesis
import jax
import jaxtyping
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from rfsq_jax.data.episodes import Episode
from tests.support.devices import on_one_device
from tests.support.memory import give_back, give_back_much

jax.config.update("jax_numpy_rank_promotion", "raise")
hypothesis.settings.register_profile("ci", deadline=None, max_examples=12, derandomize=True)
hypothesis.settings.load_profile("ci")

TESTS = Path(__file__).parent
SIMULATED = (
    "eval/test_failures.py",
    "test_end_to_end.py",
    "libero/",
    "evaluation/analysis/test_failure_modes.py",
    "evaluation/play/test_libero_simulator.py",
    "features/test_images.py",
    "train/test_demos.py",
)
"""One worker holds all simulators, a quarter of a gigabyte each, and begins with them; of the slow
tests both workers do, because simulating is all that most of them do."""

LONG = ("training/", "train/", "eval/", "rfsq/")
"""These come next, so that the workers end at about the same time; rfsq/ last, which compiles most,
when the simulators are closed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts modules by their place in SIMULATED and LONG; the others come last."""
    order = (*SIMULATED, *LONG)

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(TESTS).as_posix()
        return next((k for k, each in enumerate(order) if path.startswith(each)), len(order))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps each module on one worker, for its fixtures and its compiled programs."""
    from xdist.scheduler import LoadScopeScheduling

    fast = config.option.markexpr == "not slow"

    class Modules(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0].removeprefix("tests/")
            if path.startswith(SIMULATED):
                return "simulators" if fast else nodeid
            return path

    config.option.loadscopereorder = False
    return Modules(config, log)


def pytest_collection_finish() -> None:
    """Keeps what all tests share out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """Gives a module's compiled programs back: some megabytes each, and there are thousands."""
    yield
    give_back()


@pytest.fixture(autouse=True)
def forget_many_programs() -> Iterator[None]:
    """Gives them back within a module too, where they have become very many."""
    yield
    give_back_much()


def smooth_actions(steps: int, seed: int) -> np.ndarray:
    """Actions float32 [steps, 7] that look like a robot's: smooth, bounded, gripper +-1."""
    rng = np.random.default_rng(seed)
    translation = np.clip(gaussian_filter1d(rng.normal(size=(steps, 3)), 6, axis=0) * 3, -0.9, 0.9)
    rotation = gaussian_filter1d(rng.laplace(size=(steps, 3)), 4, axis=0) * 0.2
    gripper = np.where(gaussian_filter1d(rng.normal(size=(steps, 1)), 10, axis=0) < 0, -1.0, 1.0)
    return np.concatenate([translation, rotation, gripper], axis=1).astype(np.float32)


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """Switches the type checker off, so that our own checks meet the bad value."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def one_device() -> Iterator[None]:
    """See `on_one_device`."""
    with on_one_device():
        yield


@pytest.fixture(scope="session")
def episodes() -> list[Episode]:
    """Twelve short synthetic episodes of three instructions."""
    return [
        Episode(
            actions=smooth_actions(60, seed),
            state=np.zeros((60, 8), np.float32),
            instruction=f"task {seed % 3}",
            source=f"synthetic/{seed}",
        )
        for seed in range(12)
    ]


@pytest.fixture(scope="session")
def chunks(episodes: list[Episode]) -> np.ndarray:
    """Chunks float32 [M, 8, 7] in robot units."""
    from rfsq_jax.data.episodes import chunk_episodes

    return chunk_episodes(episodes, horizon=8)
