"""The processes of one run, on one host or on many: how they find each other, who writes.

JAX's multi-controller runtime: the same command runs in every process, and each one takes part in
every computation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from rfsq_jax.parallel import watch

TIMEOUT = 30.0
"""Seconds of silence after which a process counts as lost."""
START_TIMEOUT = 300
ADDRESS_BYTES = 256
# No such host: asked only which of this host's addresses would be used to reach others.
ELSEWHERE = ("192.0.2.1", 9)


class StoppedTogether(BaseException):
    """Raised by all processes of a run after the same step, when what there is was saved."""


@dataclasses.dataclass(frozen=True)
class Distributed:
    """Which of several processes this is.

    On TPU pods, under Slurm and under Open MPI it is found out; nothing needs to be said.

    Attributes:
      coordinator: host:port that the first process listens at, and the others reach it by.
      num_processes: of the run; 1 runs alone wherever this is.
      process_id: of this one, from 0.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def __post_init__(self) -> None:
        if self.num_processes == 1:
            return
        said = (self.coordinator, self.num_processes, self.process_id)
        if any(each is None for each in said) != all(each is None for each in said):
            raise ValueError(
                "coordinator, num_processes and process_id must be given together, got "
                f"{self.coordinator}, {self.num_processes} and {self.process_id}"
            )
        if self.coordinator is None or self.num_processes is None or self.process_id is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"coordinator must be host:port, got {self.coordinator}")
        if self.num_processes < 1:
            raise ValueError(f"num_processes must be at least 1, got {self.num_processes}")
        if not 0 <= self.process_id < self.num_processes:
            raise ValueError(
                f"process_id must be 0 to {self.num_processes - 1}, got {self.process_id}"
            )

    @property
    def is_several(self) -> bool:
        """Whether this process is one of several."""
        if self.num_processes is not None:
            return self.num_processes > 1
        return is_cluster()


def is_cluster() -> bool:
    """Whether JAX can find out by itself which process of which run this is."""
    for variable in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"):
        if int(os.environ.get(variable, "1")) > 1:
            return variable != "SLURM_NTASKS" or "SLURM_PROCID" in os.environ
    if "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        return True
    chips = any(Path(path).exists() for path in ("/dev/accel0", "/dev/vfio/0"))
    return chips and find_spec("libtpu") is not None and _platforms() in ("", "tpu")


@contextlib.contextmanager
def joined(distributed: Distributed, command: str) -> Iterator[None]:
    """Joins the other processes of the run, before any other use of JAX; alone it does nothing.

    Inside, a process that dies or falls silent ends all others within a minute; each says which.
    Only the first process prints.

    Args:
      distributed: which process this is.
      command: the run's, such as train.heads.
    """
    if not distributed.is_several:
        yield
        return
    _initialize(distributed)
    guard = _watched(distributed, command)
    try:
        with _quiet_unless_primary():
            yield
            barrier("end of the run")
    except StoppedTogether:
        _part(guard)
        raise
    except jax.errors.JaxRuntimeError:
        # The collective of a lost process fails before it is known which one was lost.
        guard.wait()
        raise
    _part(guard)


def is_primary() -> bool:
    """Whether this process writes what the run makes: the first one of all hosts."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process of the run has come to the barrier of that name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def unique_tag() -> str:
    """Returns a part of a file name that no other host, process or thread gives itself."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _initialize(distributed: Distributed) -> None:
    # Without collectives of their own, several CPU processes cannot compute together.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Else JAX ends the others before it is said which process was lost.
    jax.config.update("jax_enable_recoverability", True)
    jax.distributed.initialize(
        distributed.coordinator,
        distributed.num_processes,
        distributed.process_id,
        initialization_timeout=START_TIMEOUT,
    )


def _part(guard: watch.Watch) -> None:
    """Leaves the run; the first process, which the others depend on, goes last."""
    if is_primary():
        guard.stop()
        jax.distributed.shutdown()
    else:
        jax.distributed.shutdown()
        guard.stop()


def _watched(distributed: Distributed, command: str) -> watch.Watch:
    """Links all processes to the first one."""
    index, count = jax.process_index(), jax.process_count()
    server = socket.create_server(("", 0)) if index == 0 else None
    told = np.zeros(ADDRESS_BYTES, np.uint8)
    if server is not None:
        address = f"{_own_address(distributed)}:{server.getsockname()[1]}".encode()
        told[: len(address)] = np.frombuffer(address, np.uint8)
    told = np.asarray(multihost_utils.broadcast_one_to_all(told)).astype(np.uint8)
    host, _, port = told.tobytes().rstrip(b"\0").decode().rpartition(":")
    if server is not None:
        links = watch.serve(server, count - 1, TIMEOUT)
    else:
        links = [watch.connect((host, int(port)), index, TIMEOUT)]
    advice = "what was saved is kept, and the same command goes on from there"
    return watch.Watch(
        links, TIMEOUT, lambda message: watch.end_process(f"{command}: {message}; {advice}")
    )


def _own_address(distributed: Distributed) -> str:
    """Where others reach this host."""
    if distributed.coordinator is not None:
        return distributed.coordinator.rpartition(":")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE)
        return probe.getsockname()[0]


@contextlib.contextmanager
def _quiet_unless_primary() -> Iterator[None]:
    if is_primary():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _platforms() -> str:
    return os.environ.get("JAX_PLATFORMS", "").lower()
