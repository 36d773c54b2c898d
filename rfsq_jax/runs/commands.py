"""How commands end: one line and an exit code for all that is no mistake of ours.

  0    done
  1    broken off by what is around it: a full disk, a killed worker, a loss that is no number
  2    refused: an option, a file or a folder that its user can put right
  130  Ctrl-C
  143  SIGTERM, as from a scheduler

Only our own mistakes end in a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from rfsq_jax.parallel.calls import WorkerDiedError
from rfsq_jax.parallel.hosts import StoppedTogether
from rfsq_jax.runs.checks import DamagedError, NotInstalledError

GOES_ON = "what was finished is kept, and the same command goes on from there"
STARTS_AGAIN = "no file is half written, and the same command starts again"

BROKEN_OFF, REFUSED, INTERRUPTED, TERMINATED = 1, 2, 130, 143

# What a file system or a machine says that has nothing to do with the program.
AROUND = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENODEV,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)

Main = Callable[..., int]
T = TypeVar("T")


class Terminated(BaseException):
    """Raised in the main thread by SIGTERM; no `except Exception` stops it."""


def command(name: str, safe: str = GOES_ON) -> Callable[[Main], Main]:
    """Makes a command's `main` end as this module says.

    Args:
      name: the command's, such as train.heads.
      safe: what its user should know when it is broken off.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            with _plain_warnings(name), _one_line(name, safe), _sigterm_raises():
                return main(argv)

        return run

    return decorate


@contextlib.contextmanager
def user_errors(name: str) -> Iterator[None]:
    """Ends the program with one line for what its user can put right; goes around such code only.

    That is a ValueError, a file that does not exist, or something that is not installed.

    Raises:
      SystemExit: with code 2, after the line is printed.
    """
    try:
        yield
    except (ValueError, FileNotFoundError, NotInstalledError) as error:
        _end(name, str(error), REFUSED, error)


@contextlib.contextmanager
def opened(name: str, resource: AbstractContextManager[T]) -> Iterator[T]:
    """Enters a resource as inside of `user_errors`, and keeps it for code that is outside."""
    with contextlib.ExitStack() as stack:
        with user_errors(name):
            value = stack.enter_context(resource)
        yield value


@contextlib.contextmanager
def _one_line(name: str, safe: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        _end(name, f"interrupted; {safe}", INTERRUPTED, error)
    except (Terminated, StoppedTogether) as error:
        _end(name, f"terminated (SIGTERM); {safe}", TERMINATED, error)
    except DamagedError as error:
        _end(name, str(error), REFUSED, error)
    except (WorkerDiedError, FloatingPointError) as error:
        _end(name, f"{error}; {safe}", BROKEN_OFF, error)
    except OSError as error:
        if error.errno not in AROUND:
            raise
        _end(name, f"{error}; {safe}", BROKEN_OFF, error)


def _end(name: str, text: str, code: int, error: BaseException) -> None:
    print(f"{name}: {' '.join(text.split())}", file=sys.stderr)
    raise SystemExit(code) from error


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    # Python lets only this thread handle signals.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> None:
        # Once: what is being cleaned up must not be interrupted in its turn.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _plain_warnings(name: str) -> Iterator[None]:
    """Our own warnings are for users: a line each, without the code that gave them."""
    with_code = warnings.showwarning

    def show(message: Any, category: Any, filename: str, *rest: Any) -> None:
        if category.__module__.startswith("rfsq_jax."):
            print(f"{name}: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            with_code(message, category, filename, *rest)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = with_code
