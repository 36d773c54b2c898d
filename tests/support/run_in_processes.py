"""Training commands in processes of their own, one or several together, to be killed or stopped."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rfsq_jax.runs.local import LocalRun, start

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0
"""Seconds: for slow machines; nothing is measured by it."""
FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, *, processes: int = 1, devices: int = 4
) -> Iterator[list[subprocess.Popen]]:
    """Starts a command in so many processes, whose output goes to LOG.0, LOG.1, ...; ends them."""
    environment = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": FLAGS}
    places = [log.with_suffix(f".{index}") for index in range(processes)]
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(place.open("wb")) for place in places]
        with _environment(environment):
            started = start(LocalRun(processes, devices), command, outputs)
        try:
            yield started
        finally:
            for process in started:
                process.kill()
                process.wait()


def output_of(log: Path, index: int = 0) -> str:
    return log.with_suffix(f".{index}").read_text()


def finish(processes: Sequence[subprocess.Popen]) -> list[int]:
    return [process.wait(PATIENCE) for process in processes]


def wait_for(path: Path, processes: Sequence[subprocess.Popen]) -> None:
    """Returns as soon as a file or folder is there; fails if a process ends before."""
    began = time.monotonic()
    while not path.exists():
        ended = [process.poll() for process in processes]
        assert all(code is None for code in ended), f"ended with {ended} before {path}"
        assert time.monotonic() - began < PATIENCE, f"no {path}"
        time.sleep(0.02)


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
