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

import numpy as np
import pytest

from rfsq_jax.evaluation.log import EpisodeLog
from rfsq_jax.evaluation.play.run import PATIENCE_SECONDS
from rfsq_jax.parallel.workers import Pool
from rfsq_jax.runs.line_files import DamagedLineWarning
from tests.support.evaluation import PROTOCOL, Fault, Pushes, Sums, evaluate, outcomes, trials_of
from tests.support.processes import kill_when


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """30 trials played by one worker, one question at a time."""
    records, errors, _ = evaluate(tmp_path_factory.mktemp("one"), trials_of(3, 10), workers=1)
    assert not errors
    return outcomes(records)


class Killer(Pushes):
    """A policy that kills one of the workers, whatever it does, at every n-th question."""

    def __init__(self, every, kills):
        super().__init__()
        self.dice, self.every, self.kills, self.pids = random.Random(0), every, kills, []

    def act(self, observations):
        chunk = super().act(observations)
        if self.calls % self.every == 0 and len(self.pids) < self.kills:
            # Sorted by age, for the dice; each still has a trial while questions come so early.
            workers = sorted(each.pid or 0 for each in multiprocessing.active_children())
            self.pids.append(self.dice.choice(workers))
            os.kill(self.pids[-1], signal.SIGKILL)
        return chunk


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
    kill = Killer(every=20, kills=4)
    records, errors, evaluation = evaluate(tmp_path, trials_of(3, 10), actor=kill)
    assert not errors
    assert 3 <= evaluation.kills == len(set(kill.pids))
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


def test_a_worker_that_hangs_is_an_error(tmp_path, monkeypatch):
    wait = Pool.wait

    def long_wait(pool, timeout):
        # As if the patience had passed since the word of one that hangs, and of nobody else.
        hanging = {int(path.name.split("-")[1]) for path in (tmp_path / "marks").iterdir()}
        for worker in pool.workers:
            if worker.process.pid in hanging:
                worker.last_message_time -= 2 * PATIENCE_SECONDS
        return wait(pool, min(timeout, 0.1))

    monkeypatch.setattr(Pool, "wait", long_wait)
    make = faulty(tmp_path, "hang", times=1)
    records, errors, _ = evaluate(tmp_path, trials_of(1, 4), make=make, patience=PATIENCE_SECONDS)
    assert not errors
    # The run did not wait for the end of the hang, which never comes.
    assert sorted(each.attempts for each in records.values()) == [1, 1, 1, 2]


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
        import pathlib
        from tests.support.evaluation import evaluate, trials_of
        from tests.support.processes import wait_to_be_killed
        played = []
        def watch(pool, record):
            played.append(record)
            if len(played) == 5:
                wait_to_be_killed()
        if __name__ == "__main__":
            evaluate(pathlib.Path({str(tmp_path)!r}), trials_of(3, 10), watch=watch)
    """)
    path = tmp_path / "killed.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, str(path)], env=environment)
    log = tmp_path / "episodes.jsonl"
    kill_when(process, lambda: log.exists() and log.read_bytes().count(b"\n") >= 5)
    # The kill may also have come in the middle of a line.
    with log.open("a") as stream:
        stream.write('{"suite": "libero_sp')
    logged = log.read_text().count("\n")
    assert logged == 5
    played = []
    with pytest.warns(DamagedLineWarning, match="line 6 .* not written to its end"):
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
    kill = Killer(every=80, kills=12)
    trials = trials_of(10, 20)
    calm, _, _ = evaluate(tmp_path / "calm", trials)
    records, errors, evaluation = evaluate(tmp_path / "wild", trials, actor=kill)
    assert not errors
    assert 8 <= evaluation.kills == len(set(kill.pids))
    assert outcomes(records) == outcomes(calm)
    assert (tmp_path / "wild" / "episodes.jsonl").read_text().count("\n") == 200


def test_another_seed_gives_other_episodes():
    other = dataclasses.replace(PROTOCOL, seed=1)
    trial = trials_of(1, 1)[0]
    one, two = Sums("", 0, 8), Sums("", 0, 8)
    assert (one.begin(trial, PROTOCOL) != two.begin(trial, other)).any()
