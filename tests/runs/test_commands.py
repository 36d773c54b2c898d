"""How commands end: one line and a code for what is no mistake of ours."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest

from rfsq_jax.parallel.calls import WorkerDiedError
from rfsq_jax.runs.checks import DamagedError, NotInstalledError
from rfsq_jax.runs.commands import STARTS_AGAIN, Terminated, command, opened, user_errors


def end(capsys, error, safe=STARTS_AGAIN):
    """The code and the line with which a command ends whose work raises this."""

    @command("eval.x", safe)
    def main(argv=None):
        raise error

    with pytest.raises(SystemExit) as ended:
        main([])
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated (SIGTERM)"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "No space left on device: 'x'"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "Permission denied: 'x'"),
        (WorkerDiedError("a worker was killed"), 1, "a worker was killed"),
        (FloatingPointError("loss became NaN"), 1, "loss became NaN"),
    ],
)
def test_what_is_around_the_program_is_one_line(capsys, error, code, says):
    ended, text = end(capsys, error)
    assert ended == code
    assert text.startswith("eval.x: ")
    assert says in text
    assert text.endswith(f"; {STARTS_AGAIN}\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), FileNotFoundError(errno.ENOENT, "x"), OSError("x")]
)
def test_our_own_mistakes_stay_what_they_are(error):
    @command("eval.x")
    def main(argv=None):
        raise error

    with pytest.raises(type(error)):
        main([])


def test_a_command_that_works_returns_its_code():
    assert command("eval.x")(lambda argv: len(argv))(["a", "b"]) == 2


def test_sigterm_ends_what_is_open_and_then_the_command(capsys):
    closed = []

    @command("eval.x")
    def main(argv=None):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)
        finally:
            # A second one does not interrupt what is being closed.
            os.kill(os.getpid(), signal.SIGTERM)
            closed.append(True)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 143
    assert closed
    assert signal.getsignal(signal.SIGTERM) is before


def test_commands_run_in_any_thread():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(command("eval.x")(lambda argv: 0)([])))
    thread.start()
    thread.join()
    assert codes == [0]


def test_our_warnings_are_a_line_each(capsys):
    class Ours(UserWarning):
        __module__ = "rfsq_jax.somewhere"

    @command("eval.x")
    def main(argv=None):
        warnings.warn("mind\nthis", Ours, stacklevel=1)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main([])
    assert capsys.readouterr().err == "eval.x: warning: mind this\n"


def test_what_the_user_can_put_right_is_one_line(capsys):
    for error in (ValueError("a\nb"), FileNotFoundError("a b"), NotInstalledError("a b")):
        with pytest.raises(SystemExit) as ended, user_errors("eval.x"):
            raise error
        assert ended.value.code == 2
        assert capsys.readouterr().err == "eval.x: a b\n"


def test_only_opening_is_the_users(capsys):
    @contextlib.contextmanager
    def resource(name):
        if name != "good":
            raise ValueError(f"no {name}")
        yield name

    with pytest.raises(SystemExit), opened("eval.x", resource("bad")):
        pass
    assert capsys.readouterr().err == "eval.x: no bad\n"
    with pytest.raises(ValueError, match="later"), opened("eval.x", resource("good")) as value:
        raise ValueError(f"later than {value}")


def test_a_damaged_file_found_on_the_way_is_one_line(capsys):
    @command("eval.x")
    def main(argv=None):
        raise DamagedError("x.json is damaged")

    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "eval.x: x.json is damaged\n"


def test_our_own_mistakes_are_tracebacks():
    for error in (TypeError, KeyError, AssertionError, RuntimeError, ImportError):
        with pytest.raises(error), user_errors("eval.x"):
            raise error


def test_ctrl_c_of_a_real_process_is_one_line():
    script = """
import os, signal, sys
from rfsq_jax.runs.commands import command

@command("eval.x")
def main(argv=None):
    # Where the tests run in the background, the signal is ignored from the start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)
    import time; time.sleep(60)

main()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 130
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("eval.x: interrupted; ")
