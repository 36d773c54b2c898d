"""Checkpoints of training runs (Orbax v1): the latest, to resume from, and the best.

Beside the arrays, each keeps a checksum of every array and the figures, under one hash. All hosts
write together, while training goes on, into a folder that all of them see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from rfsq_jax.parallel.hosts import is_primary
from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.descriptions import sealed, unseal
from rfsq_jax.runs.records import parse_record
from rfsq_jax.runs.trees import require_same, shapes_of
from rfsq_jax.training.checkpoint_files import check_files, run_name, write_file_list
from rfsq_jax.training.checksums import checksums

STATE = "state"
LOGGER = logging.getLogger("absl")
DISK_ERROR = re.compile(r"os_error_code='(\d+)'")


@dataclasses.dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint says of itself.

    Attributes:
      figures: of the evaluation that it was saved after; none where a run was stopped before.
      checksums: of every array, by path.
      run: which run saved it.
    """

    figures: dict[str, float]
    checksums: dict[str, int]
    run: str


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints of one run's folder; a save is whole or absent, whenever the process dies.

    Args:
      folder: where they live.
      metric: the figure by which the best is kept; the lower, the better.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        policies = ocp.training.preservation_policies
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics[metric],
            n=1,
            reverse=True,
            keep_checkpoints_without_metrics=False,
        )
        # Any: Orbax annotates its own policies with a protocol that they do not satisfy.
        policy: Any = policies.AnyPreservationPolicy([policies.LatestN(1), best])
        self._metric = metric
        self._folder = Path(folder).resolve()
        self._run = run_name(self._folder)
        self._saving: tuple[int, Any] | None = None
        # In a thread, Orbax logs the traceback of what it raises here afterwards.
        self._log_level = LOGGER.level
        LOGGER.setLevel(logging.CRITICAL)
        check_files(self._folder)
        try:
            self._orbax = ocp.training.Checkpointer(
                str(self._folder), preservation_policy=policy, cleanup_tmp_directories=True
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            message = f"a checkpoint in {self._folder} is damaged ({error}); remove its folder"
            raise DamagedError(message) from error

    def __exit__(self, *error: object) -> None:
        try:
            self.wait()
        finally:
            with _disk_errors(self._folder):
                self._orbax.close()
            LOGGER.setLevel(self._log_level)

    @property
    def latest_step(self) -> int | None:
        """The step to resume from, or None before the first save."""
        self.wait()
        return None if self._orbax.latest is None else self._orbax.latest.step

    @property
    def best_step(self) -> int | None:
        """The step whose metric is lowest, or None before the first evaluated one.

        Raises:
          DamagedError: if a checkpoint does not say so as it was written.
        """
        self.wait()
        steps = [entry.step for entry in self._orbax.checkpoints]
        figures = {step: self._record(step).figures for step in steps}
        evaluated = [step for step in steps if figures[step]]
        for step in evaluated:
            if self._metric not in figures[step]:
                raise DamagedError(
                    f"the checkpoint of step {step} in {self._folder} must have a "
                    f"figure {self._metric}, got {sorted(figures[step])}"
                )
        return min(evaluated, key=lambda step: figures[step][self._metric], default=None)

    def figures(self, step: int) -> dict[str, float]:
        """What was measured of the state of a saved step.

        Raises:
          DamagedError: if the checkpoint does not say so as it was written.
        """
        self.wait()
        return self._record(step).figures

    def save(self, step: int, state: Any, metrics: dict[str, float]) -> None:
        """Copies the state and writes it while the caller goes on; `wait` says when it is there.

        Args:
          step: after which it is saved.
          state: arrays; all processes call this with their parts of the same.
          metrics: the figures of an evaluation; empty where there was none.

        Raises:
          OSError: if the disk is full, or refuses otherwise, now or for the save before.
        """
        self.wait()
        figures: dict[str, Any] = dict(metrics)
        record = CheckpointRecord(figures, checksums(state), self._run)
        with _disk_errors(self._folder):
            response = self._orbax.save_async(
                step,
                state,
                checkpointable_name=STATE,
                metrics=figures or None,
                custom_metadata=sealed(dataclasses.asdict(record)),
                overwrite=True,
            )
        self._saving = step, response

    def wait(self) -> None:
        """Waits until what was saved last is on disk.

        Raises:
          OSError: if the disk is full, or refuses otherwise.
        """
        if self._saving is None:
            return
        (step, response), self._saving = self._saving, None
        with _disk_errors(self._folder):
            response.result()
        if is_primary():
            write_file_list(self._folder / str(step))

    def restore(self, step: int, like: Any) -> Any:
        """Returns the state saved at `step`, placed as `like` is.

        Raises:
          ValueError: if the saved tree differs from `like`, naming the leaves.
          DamagedError: if it is not as it was saved.
        """
        self.wait()
        self._record(step)
        with self._named_errors(step):
            saved = self._orbax.metadata(step).metadata
            if not jax.tree.leaves(saved):
                raise ValueError("its arrays cannot be listed")
        where = f"{self._folder}, step {step} was saved by another configuration"
        require_same(where, shapes_of(like), shapes_of(saved), limit=5)
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like
        )
        with self._named_errors(step):
            state = self._orbax.load(step, abstract, checkpointable_name=STATE)
            require_same("its arrays", self._record(step).checksums, checksums(state), limit=5)
        return state

    def _record(self, step: int) -> CheckpointRecord:
        with self._named_errors(step):
            found = unseal("its record", self._orbax.metadata(step).custom_metadata)
            record = parse_record(CheckpointRecord, found, "its record")
            if record.run != self._run:
                raise ValueError(f"it was saved by run {record.run}, not by {self._run}")
            return record

    @contextlib.contextmanager
    def _named_errors(self, step: int) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise DamagedError(
                f"the checkpoint of step {step} in {self._folder} is damaged ({error}); "
                "remove that folder to resume from an earlier one"
            ) from error


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """What Orbax's storage says of a disk becomes the error that Python has for it."""
    try:
        yield
    except ValueError as error:
        if not (code := DISK_ERROR.search(str(error))):
            raise
        number = int(code[1])
        raise OSError(number, os.strerror(number), str(folder)) from error
