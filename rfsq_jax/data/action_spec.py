"""What the dims of an action mean, for any robot.

Axes: A action dims; ... any leading axes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.episodes import METRES_PER_ACTION, RADIANS_PER_ACTION
from rfsq_jax.runs.checks import MAX_SIZE, require, require_choice, require_range
from rfsq_jax.runs.records import parse_record, require_types

DimKind = Literal["translation", "rotation", "gripper", "joint", "other"]


@dataclasses.dataclass(frozen=True)
class ActionGroup:
    """Neighbouring dims of one meaning.

    Attributes:
      kind: "translation", "rotation", "joint", "other", or "gripper": a command of two values,
        its `bounds`. A gripper that takes any opening is a "joint".
      size: how many dims.
      unit: metres (translation) or radians (rotation, joint) per robot unit.
      bounds: the least and the most that the robot takes; None where nothing is known.
    """

    kind: DimKind
    size: int = 1
    unit: float = 1.0
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        require_choice(self.kind, DimKind, "kind")
        require_types(self)
        require_range(self, 1, MAX_SIZE, "size")
        require(self.unit > 0, "unit", "above 0", self.unit)
        if self.kind == "gripper" or self.bounds is not None:
            low, high = self.bounds or (math.inf, -math.inf)
            ordered = -math.inf < low < high < math.inf
            require(ordered, "bounds", f"finite and ascending for {self.kind}", self.bounds)

    @property
    def commands(self) -> tuple[float, float]:
        """The two values of a gripper.

        Raises:
          ValueError: for another kind without bounds.
        """
        if self.bounds is None:
            raise ValueError(f"bounds must be given to have commands, got none for {self.kind}")
        return self.bounds


@dataclasses.dataclass(frozen=True)
class ActionSpec:
    """All dims of an action, group by group; two arms have two groups of a kind."""

    groups: tuple[ActionGroup, ...]

    def __post_init__(self) -> None:
        require_types(self)
        require(len(self.groups) > 0, "groups", "at least one", self.groups)
        dims = self.action_dim
        require(dims <= MAX_SIZE, "groups", f"of at most {MAX_SIZE} dims", dims)

    @classmethod
    def default(cls, action_dim: int) -> ActionSpec:
        """LIBERO's for 7 dims, dims of unknown meaning for any other number."""
        return (
            LIBERO if action_dim == LIBERO.action_dim else cls((ActionGroup("other", action_dim),))
        )

    @property
    def action_dim(self) -> int:
        """A."""
        return sum(group.size for group in self.groups)

    @property
    def kinds(self) -> tuple[DimKind, ...]:
        """The kinds that occur, in order."""
        return tuple(dict.fromkeys(group.kind for group in self.groups))

    @property
    def names(self) -> tuple[str, ...]:
        """What each dim is called in plots: translation x, joint 0, gripper."""
        names = []
        for group in self.groups:
            axes = "xyz" if group.kind in ("translation", "rotation") and group.size <= 3 else None
            endings = axes[: group.size] if axes else range(group.size)
            names += [f"{group.kind} {each}" if group.size > 1 else group.kind for each in endings]
        return tuple(names)

    def slices(self, kind: DimKind) -> list[tuple[ActionGroup, slice]]:
        """The groups of a kind, each with its place among the dims."""
        ends = np.cumsum([group.size for group in self.groups]).tolist()
        places = [
            slice(end - group.size, end) for group, end in zip(self.groups, ends, strict=True)
        ]
        return [(g, place) for g, place in zip(self.groups, places, strict=True) if g.kind == kind]

    def dims(self, kind: DimKind) -> slice | Int[np.ndarray, " n"]:
        """The dims of a kind: a slice where they are neighbours, else their indices."""
        places = [place for _, place in self.slices(kind)]
        if len(places) == 1:
            return places[0]
        return np.array([i for place in places for i in range(place.start, place.stop)], np.int32)

    def to_robot(self, actions: Float[np.ndarray, "*n a"]) -> Float[np.ndarray, "*n a"]:
        """What the robot takes: grippers at one of their two values, the rest within bounds."""
        taken = np.array(actions, np.float32)
        for kind in self.kinds:
            for group, place in self.slices(kind):
                if group.bounds is None:
                    continue
                low, high = group.bounds
                if kind == "gripper":
                    taken[..., place] = np.where(taken[..., place] > (low + high) / 2, high, low)
                np.clip(taken[..., place], low, high, out=taken[..., place])
        return taken

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "action spec") -> ActionSpec:
        """The inverse of `to_dict`.

        Raises:
          ValueError: if a key is missing, unknown or of another type, or a value makes no sense; it
            begins with `where`.
        """
        return parse_record(cls, dict(values), where)


LIBERO = ActionSpec(
    (
        ActionGroup("translation", 3, METRES_PER_ACTION, (-1.0, 1.0)),
        ActionGroup("rotation", 3, RADIANS_PER_ACTION, (-1.0, 1.0)),
        ActionGroup("gripper", 1, 1.0, (-1.0, 1.0)),
    )
)
"""Steps of the end effector, and a gripper: -1 open, +1 close."""
