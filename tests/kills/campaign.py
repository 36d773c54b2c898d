"""Kills a command at random instants, gives it again, and looks at what it left each time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rfsq_jax.runs.claims import LOCK
from tests.kills.scenarios import Scenario
from tests.support.processes import children_of, wait_until


class BrokenPromiseError(AssertionError):
    """A killed command left something that is not whole, or ended otherwise than it should."""


@dataclasses.dataclass
class Report:
    """What a campaign saw.

    Attributes:
      kills: how often something was killed.
      runs: how many runs came to their end, each with the same result.
      seconds: that one undisturbed run works, from the moment when it holds its folder.
    """

    kills: int = 0
    runs: int = 0
    seconds: float = 0.0


class Campaign:
    """One scenario in a folder of its own."""

    def __init__(self, scenario: Scenario, folder: Path, seed: int) -> None:
        """Prepares it and runs the command once, undisturbed."""
        self.scenario, self.folder = scenario, folder
        self.random = random.Random(f"{seed} {scenario.name}")
        self.report = Report()
        folder.mkdir(parents=True, exist_ok=True)
        scenario.prepare(folder)
        reference = folder / "reference"
        process = self._start(reference)
        began = time.monotonic()
        self._end(process)
        self.report.seconds = time.monotonic() - began
        self.expected = scenario.result(reference)

    def run(self, kills: int, after_kill: Callable[[int], object] = lambda one: None) -> Report:
        """Kills so often, and lets every run come to its end.

        Args:
          kills: how often.
          after_kill: called with 1 after each.

        Raises:
          BrokenPromiseError: as soon as something is not whole, or a result is another one.
        """
        self._after_kill = after_kill
        while self.report.kills < kills:
            output = self.folder / f"run{self.report.runs}"
            while not self._try(output, kills):
                self._check(output)
            self._compare(output)
            shutil.rmtree(output)
        return self.report

    def _try(self, output: Path, kills: int) -> bool:
        """Gives the command; True if it came to its end, False if it was killed before."""
        process = self._start(output)
        if self.scenario.workers:
            self._kill_workers(process, kills)
        elif self.report.kills < kills:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.random.uniform(0, self.report.seconds))
            if process.poll() is None:
                process.kill()
                process.communicate()
                self._count()
                return False
        self._end(process)
        return True

    def _kill_workers(self, process: subprocess.Popen[str], kills: int) -> None:
        while process.poll() is None and self.report.kills < kills:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.random.uniform(0, self.report.seconds / 2))
            if workers := _workers_of(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.random.choice(workers), signal.SIGKILL)
                    self._count()

    def _count(self) -> None:
        self.report.kills += 1
        self._after_kill(1)

    def _start(self, output: Path) -> subprocess.Popen[str]:
        """Starts the command and waits until it holds its folder: before, it touches nothing."""
        arguments = [sys.executable, *self.scenario.arguments(self.folder), f"--output={output}"]
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: process.poll() is not None or _owner(output) == process.pid)
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        _, said = process.communicate()
        if process.returncode != 0:
            raise BrokenPromiseError(f"it ended with code {process.returncode}: {said[-2000:]}")

    def _check(self, output: Path) -> None:
        try:
            self.scenario.check(output)
        except (ValueError, OSError, AssertionError) as error:
            raise BrokenPromiseError(f"{output} is not whole: {error}") from error

    def _compare(self, output: Path) -> None:
        self._check(output)
        got: Any = self.scenario.result(output)
        if got != self.expected:
            raise BrokenPromiseError(f"{output} ended with {got}, expected {self.expected}")
        self.report.runs += 1


def _owner(output: Path) -> int | None:
    """Who holds a folder; of a run that has signed only half of it, nobody yet."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json.loads((output / LOCK).read_text())["process"]
    return None


def _workers_of(parent: int) -> list[int]:
    """Processes that `multiprocessing` spawned, but its own helper."""
    found = []
    for child in children_of(parent):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in words:
                found.append(child)
    return found
