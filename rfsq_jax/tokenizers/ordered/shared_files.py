"""The shared path's networks on disk: `shared.json` and `weights.npz` in one folder per horizon."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax

from rfsq_jax.runs.checks import require, require_int
from rfsq_jax.runs.records import parse_record
from rfsq_jax.runs.trees import require_finite
from rfsq_jax.runs.weight_files import WEIGHTS, WeightFolders, check_frozen, check_shapes
from rfsq_jax.tokenizers.ordered import shared_network as network
from rfsq_jax.tokenizers.ordered.shared_config import HORIZONS, SharedConfig
from rfsq_jax.tokenizers.ordered.shared_network import SharedParams

FOLDERS = WeightFolders("shared", newest=1, sealed_since=1, bundled="shared")


@dataclasses.dataclass(frozen=True)
class SharedFile:
    """shared.json without its hashes."""

    format_version: int
    config: SharedConfig


@functools.cache
def load_shared(horizon: int) -> tuple[SharedConfig, SharedParams]:
    """Returns the bundled network for chunks of `horizon` steps: that of the next larger horizon.

    Raises:
      TypeError: if the horizon is no integer.
      ValueError: if it is beyond the largest network's.
    """
    require_int(horizon, "horizon")
    require(1 <= horizon <= HORIZONS[-1], "horizon", f"1 to {HORIZONS[-1]}", horizon)
    return load_folder(str(min(known for known in HORIZONS if known >= horizon)))


def save_folder(folder: Path, config: SharedConfig, params: SharedParams) -> None:
    """Writes frozen parameters.

    Raises:
      ValueError: if the folder holds something else.
      OSError: if the file system refuses.
    """
    with FOLDERS.writing(folder, {"config": dataclasses.asdict(config)}, params._asdict()):
        pass


def load_folder(path_or_name: str | Path) -> tuple[SharedConfig, SharedParams]:
    """Reads what `save_folder` wrote, from a path, or a bundled one by name.

    Raises:
      FileNotFoundError: if there is none; it lists the bundled names.
      ValueError: if a file is damaged or does not fit the other.
    """
    return FOLDERS.load(path_or_name, _read)


def _read(folder: Path) -> tuple[SharedConfig, SharedParams]:
    description, arrays = FOLDERS.read(folder)
    path = folder / FOLDERS.description
    config = parse_record(SharedFile, description, str(path)).config
    wanted: Any = jax.eval_shape(lambda: network.init(config, jax.random.key(0)))
    check_shapes(WEIGHTS, wanted._asdict(), arrays)
    require_finite(f"{path}: {WEIGHTS}", arrays)
    check_frozen(f"{path}: {WEIGHTS} ", arrays, network.WEIGHT_NAMES)
    return config, SharedParams(**arrays)
