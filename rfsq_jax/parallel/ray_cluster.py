"""Workers on the machines of a Ray cluster: an actor each, which talks to its parent over TCP.

Ray places, starts and ends them; tasks and answers go over a connection of their own, which closes
with its process, so that a lost machine is noticed as a killed process is.
"""

from __future__ import annotations

import logging
import queue
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import numpy as np
import ray
import ray.exceptions
from jaxtyping import Shaped
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rfsq_jax.parallel.places import call_main

START_SECONDS = 300.0
"""In which an actor must have connected: its machine may have to read everything over a network."""
ANSWER_SECONDS = 10.0
TRIES = 5
# A machine that lost its power closes no connection: asked after 10 s, given up after 25.
KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class SentFrame:
    """Values that go with the message."""

    def put(self, values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, " n"]:
        """Copies them."""
        return values.reshape(-1).copy()

    def get(self, sent: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
        """What came."""
        return sent


class ActorProcess:
    """A worker's actor, as its parent sees it."""

    def __init__(self, actor: Any, done: Any) -> None:
        self.actor, self.done = actor, done

    @property
    def exitcode(self) -> int | None:
        """0 for one that returned; one that was lost was ended from outside."""
        if not self.has_ended(0.0):
            return None
        try:
            ray.get(self.done)
        except ray.exceptions.RayError:
            return -signal.SIGKILL
        return 0

    def has_ended(self, timeout: float | None) -> bool:
        """Whether it ends within so many seconds."""
        return bool(ray.wait([self.done], timeout=timeout)[0])

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end."""
        self.has_ended(timeout)

    def kill(self) -> None:
        """Ends it."""
        ray.kill(self.actor, no_restart=True)


class RayCluster:
    """A cluster that this process has joined, as a `Place`; a context manager.

    Args:
      address: of the cluster's head, host:port, or "auto" on one of its machines.

    Raises:
      ValueError: if there is no cluster.
    """

    def __init__(self, address: str) -> None:
        _require_answer(address)
        # Ray would end this process by SIGTERM in its own way.
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise ValueError(f"ray must be the address of a cluster, got {address}") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)
        self._key = secrets.token_bytes(32)
        self._listener = Listener((ray.util.get_node_ip_address(), 0), authkey=self._key)
        self._is_open = True
        self._arrived: dict[int, queue.Queue[Connection]] = {}
        self._next = 0
        # Any: Ray's decorators change the class.
        self._actor: Any = ray.remote(num_cpus=0, max_restarts=0)(_Actor)
        threading.Thread(target=self._accept, name="ray workers", daemon=True).start()

    def start(
        self, main: Callable[..., None], arguments: tuple[Any, ...]
    ) -> tuple[Connection, ActorProcess]:
        """Starts an actor, on one machine after the other; waits until it has connected.

        Raises:
          RuntimeError: if none does, several times.
        """
        for _ in range(TRIES):
            number, self._next = self._next, self._next + 1
            arrived = self._arrived[number] = queue.Queue()
            actor: Any = self._actor.options(scheduling_strategy=_machine(number)).remote()
            done = actor.run.remote(self._listener.address, self._key, number, main, arguments)
            process = ActorProcess(actor, done)
            connection = _wait_for(arrived, process)
            if connection is not None:
                return connection, process
            process.kill()
        raise RuntimeError(f"no worker could be started on the Ray cluster, tried {TRIES} times")

    def frame(self, size: int) -> SentFrame:
        """Machines share no memory."""
        return SentFrame()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._listener.close()
        ray.shutdown()

    def _accept(self) -> None:
        while self._is_open:
            try:
                connection = self._listener.accept()
                number = connection.recv()
            # The listener was closed, or who came is no worker, or is lost already.
            except (OSError, EOFError, AuthenticationError):
                continue
            _keep_alive(connection)
            self._arrived[number].put(connection)


class _Actor:
    """The process of a worker, on some machine."""

    def run(
        self,
        address: Any,
        key: bytes,
        number: int,
        main: Callable[..., None],
        arguments: tuple[Any, ...],
    ) -> None:
        """Connects to the parent, says which it is, and works."""
        with Client(address, authkey=key) as connection:
            connection.send(number)
            call_main(main, connection, arguments)


def _machine(number: int) -> NodeAffinitySchedulingStrategy:
    """Machines take turns; if the chosen one is lost meanwhile, any other will do."""
    alive = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])
    return NodeAffinitySchedulingStrategy(alive[number % len(alive)], soft=True)


def _require_answer(address: str) -> None:
    """Raises a ValueError if nobody listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        message = f"ray must be the address of a cluster, got {address}: {error}"
        raise ValueError(message) from error


def _wait_for(arrived: queue.Queue[Connection], process: ActorProcess) -> Connection | None:
    """The connection of an actor; None if it ends before, or takes too long."""
    for _ in range(round(START_SECONDS)):
        try:
            return arrived.get(timeout=1.0)
        except queue.Empty:
            if process.has_ended(0.0):
                return None
    return None


def _keep_alive(connection: Connection) -> None:
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as copy:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE.items():
            copy.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
