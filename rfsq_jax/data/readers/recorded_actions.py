"""Reads recorded actions from a file that the user names: NPZ or LIBERO HDF5.

Conventions: 7 dims are LIBERO's, as in `Episode`; an NPZ must have them already (gripper -1 open,
+1 close, rotation vectors, deltas in the environment's units). Any other number of dims is taken as
it is. No-ops stay.

Axes: E episodes · N steps of an episode · A action dims, the same in all episodes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from rfsq_jax.data.episodes import check_steps
from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.runs.arrays import read_npz

BOUNDARIES = ("lengths", "episode_ends")


@dataclasses.dataclass(frozen=True, eq=False)
class ActionSequence:
    """The actions of one episode, float32 [N, A]."""

    actions: Float[np.ndarray, "n a"]
    instruction: str


def read_actions(path: Path) -> list[ActionSequence]:
    """Reads every episode of an `.npz`, `.hdf5` or `.h5` file.

    An NPZ holds `actions` [N, A] with `lengths` or `episode_ends` (steps of each episode, or the
    index after its last step), or one array [N, A] per episode. An HDF5 file has LIBERO's layout.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, of another kind, holds no actions or values that are none, or
        its episodes differ in their number of dims.
    """
    if not path.is_file():
        raise FileNotFoundError(f"actions file {path} does not exist")
    readers = {".npz": _npz_arrays, ".hdf5": _hdf5_arrays, ".h5": _hdf5_arrays}
    if path.suffix not in readers:
        raise ValueError(f"{path}: expected one of {sorted(readers)}, got {path.suffix!r}")
    arrays = readers[path.suffix](path)
    episodes = [(name, _check(path, name, values)) for name, values in arrays]
    first, like = episodes[0]
    for name, actions in episodes:
        if actions.shape[1] != like.shape[1]:
            raise ValueError(
                f"{path}: {name} must have {like.shape[1]} dims, as {first} has, "
                f"got {actions.shape[1]}"
            )
    return [ActionSequence(actions, path.stem) for _, actions in episodes]


def _hdf5_arrays(path: Path) -> list[tuple[str, np.ndarray]]:
    return [(episode.source, episode.actions) for episode in read_hdf5(path)]


def _npz_arrays(path: Path) -> list[tuple[str, np.ndarray]]:
    arrays = read_npz(path)
    if not arrays:
        raise ValueError(f"{path}: expected actions, got an empty archive")
    if any(name in arrays for name in BOUNDARIES):
        return _cut(path, arrays)
    return sorted(arrays.items())


def _cut(path: Path, arrays: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    if "actions" not in arrays:
        raise ValueError(f"{path}: expected an array 'actions', got {sorted(arrays)}")
    actions = _check(path, "actions", arrays["actions"])
    name = next(name for name in BOUNDARIES if name in arrays)
    ends = _ends(name, arrays[name])
    rising = ends is not None and len(ends) > 0 and (np.diff(ends, prepend=0) > 0).all()
    if ends is None or not rising or ends[-1] != len(actions):
        raise ValueError(
            f"{path}: {name} must split {len(actions)} steps into episodes, "
            f"got {arrays[name].ravel()[:20].tolist()}"
        )
    parts = np.split(actions, ends[:-1])
    return [(f"actions of episode {index}", part) for index, part in enumerate(parts)]


def _ends(name: str, bounds: np.ndarray) -> Int64[np.ndarray, " e"] | None:
    """The index after each episode's last step; None where the bounds are no such numbers."""
    bounds = np.atleast_1d(bounds)
    if bounds.ndim != 1 or bounds.dtype.kind not in "iu":
        return None
    # Unsigned numbers would wrap around where they fall.
    signed = bounds.astype(np.int64)
    return np.cumsum(signed) if name == "lengths" else signed


def _check(path: Path, name: str, values: np.ndarray) -> Float[np.ndarray, "n a"]:
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{path}: {name} must be floating point, got {values.dtype}")
    # Numbers beyond float32 become inf, which is refused.
    with np.errstate(over="ignore", invalid="ignore"):
        actions = values.astype(np.float32)
    check_steps(name, actions, str(path), width=None)
    if not values.size:
        raise ValueError(f"{path}: {name} must have shape [N, A], got {values.shape}")
    return actions
