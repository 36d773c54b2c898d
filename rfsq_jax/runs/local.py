"""Runs a training command in several processes of this machine, as a pod would on several hosts.

    python -m rfsq_jax.runs.local --processes 2 --devices 4 -- train.heads --config configs/small.py

Every process has its own CPU devices; SIGTERM and Ctrl-C reach all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rfsq_jax.runs.checks import require, require_range
from rfsq_jax.runs.commands import user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types

COMMAND = "rfsq_jax.runs.local"
MOST = 64


@dataclasses.dataclass(frozen=True)
class LocalRun:
    """How many processes, and of how many devices.

    Attributes:
      processes: of the run.
      devices: CPU devices of each.
    """

    processes: int = 2
    devices: int = 4

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MOST, "processes", "devices")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command after `--` in every process; returns the first exit code that is not 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    config = parse(LocalRun, arguments[:end], command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        command = arguments[end + 1 :]
        require(len(command) > 0, "-- COMMAND", "a command, such as -- train.ae", arguments)
    processes = start(config, command)
    with _passed_on(processes):
        codes = [process.wait() for process in processes]
    return next((code for code in codes if code), 0)


def start(
    config: LocalRun, command: Sequence[str], outputs: Sequence[Any] | None = None
) -> list[subprocess.Popen[bytes]]:
    """Starts `python -m COMMAND` in every process; they find each other at a free port.

    Args:
      config: how many.
      command: with its options.
      outputs: files for what each process says; by default all say it here.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    flags = f"{flags} --xla_force_host_platform_device_count={config.devices}".strip()
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    with socket.create_server(("127.0.0.1", 0)) as free:
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    said = ["--distributed.coordinator", coordinator]
    said += ["--distributed.num-processes", str(config.processes)]
    return [
        subprocess.Popen(
            [sys.executable, "-m", *command, *said, "--distributed.process-id", str(index)],
            env=environment,
            stdout=output,
            stderr=output,
        )
        for index, output in enumerate(outputs or [None] * config.processes)
    ]


@contextlib.contextmanager
def _passed_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """SIGTERM goes to all processes; Ctrl-C reaches them anyway. None outlives this one."""

    def pass_on(number: int, _: object) -> None:
        if number == signal.SIGTERM:
            for process in processes:
                process.send_signal(number)

    before = {each: signal.signal(each, pass_on) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
