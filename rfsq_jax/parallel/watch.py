"""Watches whether the other processes of a run are alive, so that none waits for a dead one.

A collective waits for ever for a process that is gone. So each process keeps a connection to the
first one, which the kernel closes with the process, and says over it that it is alive. Who misses
another one ends, and says which.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

ENDED_EARLY = 1
BEAT, BYE, LOST = b"beat", b"bye", b"lost "


@dataclasses.dataclass(frozen=True)
class Member:
    """One process of a run."""

    index: int
    host: str
    pid: int

    @classmethod
    def this(cls, index: int) -> Member:
        """The process that asks."""
        return cls(index, socket.gethostname(), os.getpid())

    def __str__(self) -> str:
        return f"process {self.index} (pid {self.pid} on {self.host})"


class Link:
    """A connection over which lines go, and what is known of who is at its other end."""

    def __init__(self, connection: socket.socket, member: Member) -> None:
        self.connection, self.member = connection, member
        self.last_heard = time.monotonic()
        self.said_bye = False
        self._rest = b""

    def send(self, line: bytes) -> None:
        """Sends a line; that the other end is gone is noticed when reading."""
        with contextlib.suppress(OSError):
            self.connection.sendall(line + b"\n")

    def receive(self) -> list[bytes] | None:
        """Lines that came in, or None if the connection is closed."""
        try:
            data = self.connection.recv(65536)
        except OSError:
            return None
        if not data:
            return None
        self.last_heard = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


class Watch:
    """Keeps up links to other processes in a thread; ends the process when one is lost.

    Args:
      links: to everyone from the first process, to that one from the others.
      timeout: seconds of silence after which a process counts as lost.
      end: called with what to say, once.
    """

    def __init__(self, links: list[Link], timeout: float, end: Callable[[str], object]) -> None:
        self._links, self._timeout, self._end = links, timeout, end
        self._has_ended = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Says goodbye, and waits until everyone else has."""
        for link in self._links:
            link.send(BYE)
        self._stopping.set()
        self._thread.join(self._timeout)
        for link in self._links:
            link.connection.close()

    def wait(self) -> None:
        """Waits for a verdict on an error that another process may be the cause of."""
        self._thread.join(self._timeout)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for link in self._links:
                selector.register(link.connection, selectors.EVENT_READ, link)
            next_beat = 0.0
            while selector.get_map() and not self._is_over():
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + self._timeout / 10
                    for link in self._links:
                        link.send(BEAT)
                for key, _ in selector.select(self._timeout / 10):
                    self._read(selector, key.data)
                self._look_for_silence()

    def _is_over(self) -> bool:
        goodbye = self._stopping.is_set() and all(link.said_bye for link in self._links)
        return goodbye or self._has_ended

    def _read(self, selector: selectors.BaseSelector, link: Link) -> None:
        lines = link.receive()
        if lines is None:
            selector.unregister(link.connection)
            if not link.said_bye:
                self._lose(f"{link.member} ended before the run was over")
            return
        for line in lines:
            if line.startswith(LOST):
                self._end_with(line.removeprefix(LOST).decode())
            link.said_bye |= line == BYE

    def _look_for_silence(self) -> None:
        now = time.monotonic()
        for link in self._links:
            silent = now - link.last_heard
            if silent > self._timeout and not link.said_bye:
                self._lose(f"{link.member} has not answered for {silent:.0f} s")

    def _lose(self, message: str) -> None:
        for link in self._links:
            link.send(LOST + message.encode())
        self._end_with(message)

    def _end_with(self, message: str) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._end(message)


def serve(server: socket.socket, others: int, timeout: float) -> list[Link]:
    """Waits for the links of so many other processes.

    Raises:
      TimeoutError: if they do not come in time.
    """
    server.settimeout(timeout)
    links = []
    while len(links) < others:
        connection, _ = server.accept()
        links.append(Link(connection, _met(connection, Member.this(0), timeout)))
    server.close()
    return links


def connect(address: tuple[str, int], index: int, timeout: float) -> Link:
    """Links this process to the first one.

    Raises:
      OSError: if it cannot be reached.
    """
    connection = socket.create_connection(address, timeout)
    return Link(connection, _met(connection, Member.this(index), timeout))


def _met(connection: socket.socket, this: Member, timeout: float) -> Member:
    """Tells the other end who this is, and hears who it is."""
    connection.settimeout(timeout)
    connection.sendall(json.dumps(dataclasses.asdict(this)).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("another process of the run went away at the start")
        line += byte
    return Member(**json.loads(line))


def end_process(message: str) -> NoReturn:
    """Ends this process at once, for its main thread may wait for the lost one for ever."""
    print(message, file=sys.stderr, flush=True)
    os._exit(ENDED_EARLY)
