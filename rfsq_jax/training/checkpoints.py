"""Checkpoints of training runs (Orbax v1): the latest, to resume from, and the best."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from rfsq_jax.runs.trees import require_same, shapes_of

STATE = "state"


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints of one run's folder; a save is whole or absent, whenever the process dies.

    Args:
      folder: where they live.
      metric: the figure by which the best is kept; the lower, the better.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        policies = ocp.training.preservation_policies
        best = policies.BestN(get_metric_fn=lambda metrics: metrics[metric], n=1, reverse=True)
        # Any: Orbax annotates its own policies with a protocol that they do not satisfy.
        policy: Any = policies.AnyPreservationPolicy([policies.LatestN(1), best])
        self._metric = metric
        self._folder = Path(folder).resolve()
        try:
            self._orbax = ocp.training.Checkpointer(
                str(self._folder), preservation_policy=policy, cleanup_tmp_directories=True
            )
        except json.JSONDecodeError as error:
            message = f"a checkpoint in {self._folder} is damaged ({error}); remove its folder"
            raise ValueError(message) from error

    def __exit__(self, *error: object) -> None:
        self._orbax.close()

    @property
    def latest_step(self) -> int | None:
        """The step to resume from, or None before the first save."""
        return None if self._orbax.latest is None else self._orbax.latest.step

    @property
    def best_step(self) -> int | None:
        """The step whose metric is lowest, or None before the first save."""
        figures = {
            entry.step: float(str(entry.metrics[self._metric]))
            for entry in self._orbax.checkpoints
            if isinstance(entry.metrics, dict)
        }
        return min(figures, key=figures.__getitem__) if figures else None

    def save(self, step: int, state: Any, metrics: dict[str, float]) -> None:
        """Saves and waits until it is on disk."""
        figures: dict[str, Any] = dict(metrics)
        self._orbax.save(step, state, checkpointable_name=STATE, metrics=figures, overwrite=True)

    def restore(self, step: int, like: Any) -> Any:
        """Returns the state saved at `step`, placed as `like` is.

        Raises:
          ValueError: if the saved tree differs from `like`, naming the leaves, or is damaged.
        """
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
            return self._orbax.load(step, abstract, checkpointable_name=STATE)

    @contextlib.contextmanager
    def _named_errors(self, step: int) -> Any:
        try:
            yield
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(
                f"the checkpoint of step {step} in {self._folder} is damaged ({error}); "
                "remove that folder to resume from an earlier one"
            ) from error
