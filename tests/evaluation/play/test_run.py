"""Runs of many episodes with a simulator of a few sums: nothing lost, nothing counted twice."""

import dataclasses
import functools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from rfsq_jax.evaluation.log import EpisodeLog
from tests.support.evaluation import PROTOCOL, Fault, Pushes, Sums, evaluate, outcomes, trials_of


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """30 trials played by one worker, one question at a time."""
    records, errors, _ = evaluate(tmp_path_factory.mktemp("one"), trials_of(3, 10), workers=1)
    assert not errors
    return outcomes(records)


class Killer:
    """Called after each episode: sometimes kills a worker in the middle of one."""

    def __init__(self, share):
        self.dice, self.share, self.pids = random.Random(0), share, []

    def __call__(self, pool, record):
        # Only those that have asked for a chunk: not the same one over and over while it starts.
        playing = [each for each in pool.workers if each.task is not None and each.images.any()]
        busy = [each.process.pid for each in playing if each.process.pid not in self.pids]
        if busy and self.dice.random() < self.share:
            self.pids.append(self.dice.choice(busy))
            os.kill(self.pids[-1], signal.SIGKILL)


def faulty(tmp_path, kind, times=99, trial=3):
    marks = tmp_path / "marks"
    marks.mkdir()
    return functools.partial(Sums, fault=Fault(trials_of(1, 4)[trial], kind, marks, times))


def test_some_succeed_and_some_fail(expected):
    assert 3 < sum(success for success, *_ in expected.values()) < 27


@pytest.mark.parametrize(("workers", "batch"), [(2, 1), (3, 4)])
def test_results_do_not_depend_on_workers_or_batches(expected, tmp_path, workers, batch):
    records, errors, _ = evaluate(tmp_path, trials_of(3, 10), workers=workers, batch=batch)
    assert not errors
    assert outcomes(records) == expected


def test_killed_workers_change_nothing(expected, tmp_path):
    kill = Killer(share=0.4)
    slow = functools.partial(Sums, pause=0.005)
    records, errors, evaluation = evaluate(tmp_path, trials_of(3, 10), make=slow, watch=kill)
    assert not errors
    assert 3 <= evaluation.kills <= len(kill.pids)
    assert outcomes(records) == expected
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert len(lines) == 30
    assert sum(each.attempts for each in records.values()) == 30 + evaluation.kills


@pytest.mark.parametrize("kind", ["error", "crash", "exit"])
def test_an_error_is_retried_once_on_a_fresh_worker(expected, tmp_path, kind):
    make = faulty(tmp_path, kind, times=1)
    records, errors, _ = evaluate(tmp_path, trials_of(1, 4), make=make)
    assert not errors
    assert outcomes(records) == {key: expected[key] for key in records}
    assert sorted(each.attempts for each in records.values()) == [1, 1, 1, 2]


def test_an_error_that_persists_is_no_failure(expected, tmp_path):
    make = faulty(tmp_path, "error")
    records, errors, _ = evaluate(tmp_path, trials_of(1, 4), make=make)
    assert [error.trial for error in errors] == [trials_of(1, 4)[3]]
    assert len(errors[0].reasons) == 2
    assert all("the simulator exploded" in reason for reason in errors[0].reasons)
    # On two processes, not twice on the broken one.
    pids = {path.name.split("-")[1] for path in (tmp_path / "marks").iterdir()}
    assert len(pids) == 2
    assert len(records) == 3
    # The same command tries it again.
    records, errors, _ = evaluate(tmp_path, trials_of(1, 4))
    assert not errors
    assert outcomes(records) == {key: expected[key] for key in records}


def test_a_worker_that_hangs_is_an_error(tmp_path):
    make = faulty(tmp_path, "hang", times=1)
    began = time.monotonic()
    records, errors, _ = evaluate(tmp_path, trials_of(1, 4), make=make, patience=8.0)
    assert not errors
    assert len(records) == 4
    assert time.monotonic() - began < 50


def test_a_trial_that_kills_every_worker_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("rfsq_jax.evaluation.play.run.MAX_KILLS", 2)
    records, errors, _ = evaluate(tmp_path, trials_of(1, 4), make=faulty(tmp_path, "kill"))
    assert [error.trial.number for error in errors] == [3]
    assert "were killed (signal 9)" in errors[0].reasons[0]
    assert len(records) == 3


def test_an_error_of_the_policy_is_an_error_of_its_episode_alone(tmp_path):
    actor = Pushes(broken_for="task 1")
    records, errors, _ = evaluate(tmp_path, trials_of(2, 2), actor=actor, batch=2)
    assert {error.trial.task for error in errors} == {1}
    assert "out of ideas" in errors[0].reasons[0]
    assert {key.task for key in records} == {0}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.full((1, 8, 7), np.nan, np.float32), "chunk must be finite"),
        (np.zeros((1, 3, 7), np.float32), "[4 or more, 7], got (3, 7)"),
    ],
)
def test_a_useless_chunk_is_an_error(tmp_path, answer, message):
    _, errors, _ = evaluate(tmp_path, trials_of(1, 1), actor=Pushes(bad=answer), workers=1)
    assert len(errors) == 1
    assert message in errors[0].reasons[0]


def test_a_run_killed_outright_goes_on(expected, tmp_path):
    script = textwrap.dedent(f"""
        import functools, pathlib
        from tests.support.evaluation import Sums, evaluate, trials_of
        if __name__ == "__main__":
            slow = functools.partial(Sums, pause=0.02)
            evaluate(pathlib.Path({str(tmp_path)!r}), trials_of(3, 10), make=slow)
    """)
    path = tmp_path / "killed.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, str(path)], env=environment)
    log = tmp_path / "episodes.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") >= 5):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    # The kill may also have come in the middle of a line.
    with log.open("a") as stream:
        stream.write('{"suite": "libero_sp')
    logged = log.read_text().count("\n")
    assert logged < 30
    played = []
    records, errors, _ = evaluate(
        tmp_path, trials_of(3, 10), watch=lambda pool, record: played.append(record.key)
    )
    assert not errors
    assert outcomes(records) == expected
    assert len(played) == 30 - logged
    assert outcomes(EpisodeLog(log).records) == expected


def test_no_process_is_left_behind(expected):
    assert not multiprocessing.active_children()


def test_a_finished_run_starts_no_process(expected, tmp_path):
    evaluate(tmp_path, trials_of(1, 2), workers=1)
    actor = Pushes()
    _, errors, evaluation = evaluate(tmp_path, trials_of(1, 2), actor=actor)
    assert not errors
    assert actor.calls == 0
    assert evaluation._pool.next_number == 0


@pytest.mark.slow
def test_two_hundred_episodes_with_random_kills(tmp_path):
    kill = Killer(share=0.1)
    trials = trials_of(10, 20)
    calm, _, _ = evaluate(tmp_path / "calm", trials)
    slow = functools.partial(Sums, pause=0.005)
    records, errors, evaluation = evaluate(tmp_path / "wild", trials, make=slow, watch=kill)
    assert not errors
    assert evaluation.kills >= 8
    assert outcomes(records) == outcomes(calm)
    assert (tmp_path / "wild" / "episodes.jsonl").read_text().count("\n") == 200


def test_another_seed_gives_other_episodes():
    other = dataclasses.replace(PROTOCOL, seed=1)
    trial = trials_of(1, 1)[0]
    one, two = Sums("", 0, 8), Sums("", 0, 8)
    assert (one.begin(trial, PROTOCOL) != two.begin(trial, other)).any()
