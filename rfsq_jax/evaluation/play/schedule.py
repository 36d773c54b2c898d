"""Which worker plays what next, so that scenes are rarely rebuilt and nobody idles at the end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from rfsq_jax.evaluation.protocol import Scene, Trial


class Schedule:
    """Trials that wait. A worker stays with its task; without work it helps the largest one."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        """Puts them in line, task by task."""
        self._waiting: dict[Scene, deque[Trial]] = {}
        for trial in trials:
            self._waiting.setdefault(trial.scene, deque()).append(trial)
        self._loaded: dict[int, Scene] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def take(self, worker: int) -> Trial | None:
        """The next trial of a worker; None if all that wait are in better hands.

        Args:
          worker: its number; what it played last is remembered as the scene that it has built.
        """
        scene = self._loaded.get(worker)
        if scene is None or not self._waiting[scene]:
            scene = self._neediest(worker)
            if scene is None:
                return None
        self._loaded[worker] = scene
        return self._waiting[scene].popleft()

    def give_back(self, trial: Trial) -> None:
        """Puts a trial that was not finished first in its line."""
        self._waiting[trial.scene].appendleft(trial)

    def forget(self, worker: int) -> None:
        """A worker ended, and its scene with it."""
        self._loaded.pop(worker, None)

    def _neediest(self, worker: int) -> Scene | None:
        """The task with most waiting trials per worker; a scene costs about one episode to build.

        Where each worker that has the scene has at most one trial left, a helper comes too late.
        """
        owners = Counter(scene for who, scene in self._loaded.items() if who != worker)
        needy = [s for s, waiting in self._waiting.items() if len(waiting) > owners[s]]
        return min(
            needy, key=lambda s: (owners[s], -len(self._waiting[s]) / (owners[s] + 1)), default=None
        )
