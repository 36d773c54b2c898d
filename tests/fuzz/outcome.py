"""What happens when damaged files are loaded, and which of it is a failure."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from tests.fuzz.summary import fingerprint

Kind = Literal[
    "same", "refused", "warned", "changed", "silent", "unnamed", "internal", "crash", "hang",
    "memory",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
FAILURES: tuple[Kind, ...] = ("silent", "unnamed", "internal", "crash", "hang", "memory")
LIMIT_SECONDS = 10.0
MOST_BYTES = 1 << 30
HARD_BYTES = 3 << 30
"""Beyond MOST_BYTES is a failure; beyond this the system gives no more."""

FORBIDDEN = {
    "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec",
    "os.posix_spawn", "pickle.find_class",
}  # fmt: skip
"""Of Python's audit events: no file may reach the network, start a program or name a class."""


class TooLongError(BaseException):
    """Raised into a loader that runs past its time; no loader may catch it."""


class ForbiddenError(BaseException):
    """Raised into a loader that reaches beyond its files."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
      kind: see `KINDS`.
      detail: the error or the warning; the folder's path is left out.
      where: the last line of ours that an error came from.
    """

    kind: Kind
    detail: str = ""
    where: str = ""

    @property
    def failed(self) -> bool:
        """Whether the library broke its promise."""
        return self.kind in FAILURES


def judge(
    load: Callable[[Path], Any],
    folder: Path,
    known: frozenset[str],
    *,
    covered: bool,
    must_load: bool = False,
    limit: float = LIMIT_SECONDS,
) -> Outcome:
    """Loads a damaged folder.

    Args:
      load: the format's.
      folder: what is loaded.
      known: fingerprints of valid instances.
      covered: whether a checksum covers what was changed.
      must_load: whether it may not be refused.
      limit: seconds that it may take.
    """
    before = _reset_peak()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with _time_limit(limit), _guarded():
                found = fingerprint(load(folder))
        except TooLongError as error:
            outcome = _broken("hang", error, folder)
        except MemoryError as error:
            outcome = _broken("memory", error, folder)
        except (ValueError, FileNotFoundError, TypeError) as error:
            outcome = _broken("refused", error, folder)
            if must_load or not _names(folder, str(error)):
                outcome = dataclasses.replace(outcome, kind="internal" if must_load else "unnamed")
        # Also what is no Exception, such as the panics of tokenizers' Rust.
        except BaseException as error:
            outcome = _broken("internal", error, folder)
        else:
            outcome = _loaded(found, known, covered, [str(each.message) for each in said], folder)
    if _peak() - before > MOST_BYTES:
        return dataclasses.replace(outcome, kind="memory")
    return outcome


def prepare_process() -> None:
    """Sets the limits of a process that runs cases."""
    limit = _status("VmData") + HARD_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_audit)


def _loaded(
    found: str, known: frozenset[str], covered: bool, said: list[str], folder: Path
) -> Outcome:
    if found in known:
        return Outcome("same")
    named = [message for message in said if _names(folder, message)]
    if named:
        return Outcome("warned", _without(folder, named[0]))
    return Outcome("silent" if covered else "changed")


def _broken(kind: Kind, error: BaseException, folder: Path) -> Outcome:
    text = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "rfsq_jax/" in frame.filename] or frames[-1:]
    last = ours[-1]
    where = f"{last.filename.rpartition('rfsq_jax/')[2]}:{last.lineno} {last.name}"
    return Outcome(kind, _without(folder, f"{type(error).__name__}: {text}"), where)


def _names(folder: Path, message: str) -> bool:
    """Whether a message says which file it is about, or at least its folder."""
    names = {path.name for path in folder.rglob("*.*")}
    return str(folder) in message or any(name in message for name in names)


def _without(folder: Path, text: str) -> str:
    return text.replace(str(folder), folder.name)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLongError(f"still loading after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    # Once more every second, where a loader swallows the first.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_guard = {"armed": False}


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    _guard["armed"] = True
    try:
        yield
    finally:
        _guard["armed"] = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN and _guard["armed"]:
        raise ForbiddenError(f"{event} {arguments!r}"[:200])


def _reset_peak() -> int:
    """Forgets the peak of this process's memory; returns what it holds now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {name}")
