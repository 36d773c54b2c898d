"""Where training curves go: JSON lines for programs, TensorBoard for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol, runtime_checkable

from rfsq_jax.parallel.hosts import is_primary
from rfsq_jax.runs.files import atomic_path


@runtime_checkable
class MetricWriter(Protocol):
    """Takes the scalars of a step."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Records the scalars of one step."""
        ...


class FileWriter:
    """Writes `metrics.jsonl` and TensorBoard events; on a resumed run it continues after `step`.

    Only the first process of a multi-host run writes.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        self._active = is_primary()
        if not self._active:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        _drop_after(path, step)
        self._lines = path.open("a", buffering=1)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._active:
            self._lines.close()
            self._events.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Records the scalars of one step."""
        if not self._active:
            return
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)


def _drop_after(path: Path, step: int) -> None:
    """Removes what a killed run wrote after its last checkpoint, a torn last line included."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept))
