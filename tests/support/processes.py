"""Processes that are killed at a given point of their work, on a machine of any speed."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_SECONDS = 600.0
"""Only a test that would wait forever takes as long."""


def wait_to_be_killed() -> None:
    """What a process does at the point where a test kills it."""
    threading.Event().wait()


def wait_until(condition: Callable[[], object]) -> None:
    """Waits for what will happen sooner or later."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def kill_when(process: subprocess.Popen, condition: Callable[[], object]) -> list[int]:
    """Kills a process at once, as soon as a condition holds; returns who was below it."""

    def holds() -> object:
        assert process.poll() is None, "it ended before it could be killed"
        return condition()

    wait_until(holds)
    children = children_of(process.pid)
    process.kill()
    process.wait()
    return children


def children_of(parent: int) -> list[int]:
    """All processes below one; Linux lists them by the thread that started them."""
    lists = [path.read_text() for path in Path(f"/proc/{parent}/task").glob("*/children")]
    found = [int(word) for text in lists for word in text.split()]
    return [each for child in found for each in (child, *children_of(child))]


def is_running(process: int) -> bool:
    """Whether a process exists and has not ended; an ended one has no command line."""
    path = Path(f"/proc/{process}/cmdline")
    try:
        return path.read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False
