"""Workers end when they should, say why, and leave nothing behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rfsq_jax.parallel import workers
from rfsq_jax.parallel.calls import Caller, WorkerDiedError, run_all
from rfsq_jax.parallel.places import Failed
from rfsq_jax.parallel.workers import Killed, Pool, Worker


def halve(number, report):
    report(number)
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def die(number, report):
    os.kill(os.getpid(), number)


def count_threads(report):
    return os.environ["OMP_NUM_THREADS"]


def echo(connection, *arguments):
    while True:
        connection.send((*arguments, connection.recv()))


def wait_for_ever(connection, path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def test_results_come_in_the_order_of_the_tasks():
    reports = []
    numbers = [(2 * n,) for n in range(7)]
    assert run_all(halve, numbers, workers=3, on_report=reports.append) == list(range(7))
    assert sorted(reports) == [2 * n for n in range(7)]
    assert not multiprocessing.active_children()


def test_an_error_keeps_its_type_and_its_traceback():
    with pytest.raises(ValueError, match="3 is odd") as raised:
        run_all(halve, [(2,), (3,), (4,)], workers=2)
    assert "in halve" in raised.value.__notes__[0]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("number", "message"),
    [(signal.SIGKILL, "killed by SIGKILL, perhaps for lack of memory"), (11, "with SIGSEGV")],
)
def test_a_death_is_told_apart_from_a_crash(number, message):
    with pytest.raises(WorkerDiedError, match=message):
        run_all(die, [(number,)], workers=1)


def test_what_ended_a_process():
    assert workers._ending(-9) == Killed(9)
    assert workers._ending(-11) == Failed("the worker crashed with SIGSEGV")
    assert "exit code 3" in str(workers._ending(3))


def test_a_caller_works_while_its_parent_does_something_else():
    with Pool(lambda _: Caller(halve), 1) as pool:
        worker = pool.start()
        for number in (2, 8):
            worker.begin((number,))
            assert worker.result() == number // 2


def test_a_pool_has_room_for_a_fresh_worker_after_a_death():
    with Pool(lambda number: Worker(echo, number), 1) as pool:
        first = pool.start()
        first.begin("a")
        assert pool.wait() == [first]
        assert first.receive() == (0, "a")
        assert not pool.has_room()
        (process,) = multiprocessing.active_children()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        assert first.receive() == Killed(signal.SIGTERM)
        pool.dismiss(first)
        pool.start().begin("b")
        assert pool.wait()[0].receive() == (1, "b")
    assert not multiprocessing.active_children()


def test_each_worker_has_one_thread_for_its_maths():
    assert run_all(count_threads, [()], workers=1) == [os.environ["OMP_NUM_THREADS"]]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_ends_with_its_parent_even_at_work(tmp_path):
    code = (
        "from rfsq_jax.parallel.workers import Worker\n"
        "from tests.parallel.test_workers import wait_for_ever\n"
        f"Worker(wait_for_ever, {str(tmp_path / 'pid')!r}).process.join()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/cmdline")
    assert status.exists()
    parent.kill()
    parent.wait()
    while status.exists() and status.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
