"""Where training curves go: JSON lines for programs; TensorBoard, Weights & Biases for people."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from rfsq_jax.parallel.hosts import is_primary
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.line_files import read_lines

PROJECT_VARIABLE = "WANDB_PROJECT"


@runtime_checkable
class MetricWriter(Protocol):
    """Takes the scalars of a step."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Records the scalars of one step."""
        ...


@contextlib.contextmanager
def open_writer(folder: Path, step: int) -> Iterator[MetricWriter]:
    """A writer into `folder`, and to Weights & Biases if WANDB_PROJECT names a project.

    Only the first process of a multi-host run writes.

    Args:
      folder: the run's.
      step: the checkpoint that the run goes on from; 0 for a new run.
    """
    with contextlib.ExitStack() as stack:
        writers: list[MetricWriter] = []
        if is_primary():
            writers.append(stack.enter_context(FileWriter(folder, step)))
            if project := os.environ.get(PROJECT_VARIABLE):
                writers.append(stack.enter_context(WandbWriter(folder, step, project)))
        yield Writers(writers)


class Writers:
    """Several writers as one."""

    def __init__(self, writers: Sequence[MetricWriter]) -> None:
        self._writers = writers

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Records the scalars of one step with each of them."""
        for writer in self._writers:
            writer.write(step, scalars)


class FileWriter(contextlib.AbstractContextManager["FileWriter"]):
    """Writes `metrics.jsonl` and TensorBoard events; on a resumed run it continues after `step`."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        _drop_after(path, step)
        self._lines = path.open("a", buffering=1)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        self._events.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Records the scalars of one step."""
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)


class WandbWriter(contextlib.AbstractContextManager["WandbWriter"]):
    """Sends scalars to a run of Weights & Biases, after a resumption to the same run.

    Raises:
      ImportError: if wandb is not installed.
    """

    def __init__(self, folder: Path, step: int, project: str) -> None:
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise ImportError(
                f"{PROJECT_VARIABLE}={project} needs wandb; "
                'install it with: pip install "rfsq-jax[wandb]"'
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        known = folder / "wandb_run"
        self._run = wandb.init(
            project=project,
            name=folder.name,
            dir=str(folder),
            id=known.read_text() if step and known.exists() else None,
            resume="allow",
        )
        known.write_text(self._run.id)

    def __exit__(self, kind: object, *error: object) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Sends the scalars of one step."""
        self._run.log(scalars, step=step)


def _drop_after(path: Path, step: int) -> None:
    """Removes what a killed run wrote after its last checkpoint; damaged lines are only a gap."""
    kept = [
        json.dumps(value) + "\n"
        for _, value in read_lines(path)
        if type(value.get("step")) is int and value["step"] <= step
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept))
