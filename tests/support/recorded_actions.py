"""Smooth actions on the lattice that LIBERO's recorded actions lie on."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def smooth_episodes() -> list[np.ndarray]:
    """Twelve episodes float32 [20 to 31, 7]."""
    rng = np.random.default_rng(0)
    return [_episode(rng, 20 + index) for index in range(12)]


def write_actions(path: Path, episodes: list[np.ndarray]) -> Path:
    """An NPZ file with the lengths of its episodes."""
    np.savez(path, actions=np.concatenate(episodes), lengths=[len(each) for each in episodes])
    return path


def _episode(rng: np.random.Generator, steps: int) -> np.ndarray:
    time = np.arange(steps)[:, None] / 20
    phase, speed = rng.uniform(0, 6, (1, 6)), rng.uniform(1, 5, (1, 6))
    counts = np.rint(200 * np.sin(speed * time + phase))
    gripper = np.where(time > steps / 40, 1.0, -1.0)
    unit = np.array([0.9375] * 3 + [0.375] * 3) / 350
    return np.concatenate([counts * unit, gripper], axis=1).astype(np.float32)
