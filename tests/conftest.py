"""Settings that every test runs under; eight CPU devices, so that sharded code is sharded."""

import os

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections.abc import Iterator

import hypothesis
import jax
import jaxtyping
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from rfsq_jax.data.episodes import Episode

jax.config.update("jax_numpy_rank_promotion", "raise")
hypothesis.settings.register_profile("ci", deadline=None, max_examples=12, derandomize=True)
hypothesis.settings.load_profile("ci")


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
    from rfsq_jax.data.chunks import chunk_episodes

    return chunk_episodes(episodes, horizon=8)
