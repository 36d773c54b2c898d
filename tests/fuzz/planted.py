"""Loaders that break every promise, so that the fuzzer is known to find who does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import outcome
from tests.fuzz.campaign import serve
from tests.fuzz.formats import FORMATS
from tests.fuzz.registry import Format

CONTENT = b'{"number": 123456789}\n'
FILE = "numbers.json"
MOST_BYTES = 1 << 26
"""As much is too much here, so that it is soon eaten."""


def raising(error: BaseException) -> Callable[[Path], Any]:
    """A loader that raises this."""

    def load(folder: Path) -> Any:
        raise error

    return load


def refuse(folder: Path) -> Any:
    raise ValueError(f"{folder / FILE} is damaged")


def warn(folder: Path) -> bytes:
    warnings.warn(f"{folder / FILE}, line 1 is left out", stacklevel=2)
    return b"the rest"


def read(folder: Path) -> bytes:
    return (folder / FILE).read_bytes()


def wait(folder: Path) -> None:
    time.sleep(600)


def wait_deaf(folder: Path) -> None:
    """Waits where no signal reaches Python, as code in C may."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(600)


def abort(folder: Path) -> None:
    os.abort()


def eat(folder: Path) -> Any:
    return np.ones(2 * MOST_BYTES, np.uint8)[:1]


def ask_too_much(folder: Path) -> Any:
    return np.empty(1 << 46, np.uint8)


def start_a_program(folder: Path) -> None:
    subprocess.run(["true"], check=True)


LOADERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "aborts": (abort, "crash"),
    "refuses": (refuse, "refused"),
    "warns": (warn, "warned"),
    "accepts": (read, "silent"),
    "names-nothing": (raising(ValueError("it is damaged")), "unnamed"),
    "breaks": (raising(KeyError("number")), "internal"),
    "panics": (raising(SystemExit("no exception")), "internal"),
    "starts-a-program": (start_a_program, "internal"),
    "waits": (wait, "hang"),
    "eats": (eat, "memory"),
    "asks-too-much": (ask_too_much, "memory"),
    "waits-deaf": (wait_deaf, "hang"),
}
"""Each with the outcome that it must be counted as."""


def unless_intact(load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A loader that does so with damaged files only."""

    def load_any(folder: Path) -> Any:
        path = folder / FILE
        intact = path.is_file() and path.read_bytes() == CONTENT
        return CONTENT if intact else load(folder)

    return load_any


def format_of(name: str) -> Format:
    """The format that a loader reads; both instances are alike."""
    return Format(
        name=name,
        make=lambda folder, seed: (folder / FILE).write_bytes(CONTENT),
        load=unless_intact(LOADERS[name][0]),
        covered="*",
        promise="None that is kept.",
    )


def serve_planted(connection: Connection, root: str) -> None:
    """The main function of a worker that knows these formats too."""
    outcome.MOST_BYTES = MOST_BYTES
    FORMATS.update({name: format_of(name) for name in LOADERS})
    serve(connection, root, limit=3.0)
