"""Schedule, log, protocol, batches: what a run is made of, without any process."""

import dataclasses
import heapq
import json

import pytest

from rfsq_jax.evaluation.analysis.versions import describe_simulator, known_changes
from rfsq_jax.evaluation.log import EpisodeLog
from rfsq_jax.evaluation.play.run import Schedule
from rfsq_jax.evaluation.play.worker import describe
from rfsq_jax.evaluation.protocol import (
    EvaluationProtocol,
    Trial,
    current_names,
    deviations,
    placement_seed,
)
from rfsq_jax.evaluation.results import rate, success_table, suite_figures, time_figures
from rfsq_jax.libero.tasks import tasks
from rfsq_jax.runs.line_files import DamagedLineWarning
from tests.support.evaluation import PROTOCOL, SUITE, play_through, trials_of

BUILD = 5.0


def record_of(trial, success=True):
    _, played = play_through(trial)
    seconds = {"total": 2.0, "build": 0.0, "render": 1.0, "physics": 0.5, "reset": 0.1}
    record = describe(trial, PROTOCOL, played, seconds, (None, None))
    return dataclasses.replace(record, success=success)


def simulate(trials, workers, seconds):
    """Plays a schedule on a clock: when the last worker ends, trials in order, scenes built."""
    schedule, clock = Schedule(trials), [(0.0, worker) for worker in range(workers)]
    loaded, order, ends, builds = {}, [], [0.0], 0
    while clock:
        now, worker = heapq.heappop(clock)
        trial = schedule.take(worker)
        if trial is None:
            continue
        build = loaded.get(worker) != trial.scene
        loaded[worker] = trial.scene
        builds += build
        order.append(trial)
        ends.append(now + seconds + BUILD * build)
        heapq.heappush(clock, (ends[-1], worker))
    assert len(schedule) == 0
    return max(ends), order, builds


@pytest.mark.parametrize(("tasks", "workers"), [(10, 2), (3, 2), (1, 2), (10, 16), (2, 7), (5, 3)])
def test_every_trial_is_played_once_and_nobody_idles_long(tasks, workers):
    trials = trials_of(tasks, 20)
    end, order, builds = simulate(trials, workers, seconds=4.0)
    assert sorted(order) == trials
    ideal = (len(trials) * 4.0 + max(tasks, workers) * BUILD) / workers
    assert end <= ideal + 2 * (BUILD + 4.0)
    assert builds <= tasks + 2 * workers


def test_a_worker_stays_with_its_scene_and_takes_back_what_broke():
    schedule, taken = Schedule(trials_of(3, 4)), []

    def take(worker):
        trial = schedule.take(worker)
        assert trial is not None
        taken.append(trial)
        return trial

    first = take(0)
    assert take(1).scene != first.scene
    assert take(0).scene == first.scene
    schedule.give_back(first)
    schedule.forget(0)
    assert take(7).scene not in {taken[0].scene, taken[1].scene}
    assert first in [take(8) for _ in range(3)]


def test_the_log_keeps_everything_and_cuts_off_half_a_line(tmp_path):
    path, records = tmp_path / "run" / "log", [record_of(trial) for trial in trials_of(2, 2)]
    log = EpisodeLog(path)
    for record in records:
        log.append(record)
    whole = path.read_bytes()
    with path.open("ab") as stream:
        stream.write(whole[:50])
    with pytest.warns(DamagedLineWarning, match="line 5 .* was not written to its end"):
        again = EpisodeLog(path)
    assert list(again.records.values()) == records
    more = record_of(Trial(SUITE, 0, 9))
    again.append(more)
    assert path.read_bytes().startswith(whole)
    assert list(EpisodeLog(path).records.values()) == [*records, more]


def test_an_episode_counts_once(tmp_path):
    log, record = EpisodeLog(tmp_path / "log"), record_of(trials_of(1, 1)[0])
    log.append(record)
    with pytest.raises(ValueError, match="already"):
        log.append(record)
    log.path.write_text(log.path.read_text() * 2)
    with pytest.warns(DamagedLineWarning, match=r"line 2 .* is recorded twice"):
        assert list(EpisodeLog(log.path).records.values()) == [record]


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"{broken",
        lambda line: b"\xff" + line[1:],
        lambda line: line.replace(b'"steps": ', b'"steps": 1'),
        lambda line: line.replace(b"true", b"false").replace(b"True", b"False"),
        lambda line: line.replace(b'"crc32": "', b'"crc32": "0'),
        lambda line: line[: line.index(b', "crc32"')] + b"}",
    ],
)
def test_damage_in_the_middle_is_named_and_the_rest_kept(tmp_path, damage):
    records = [record_of(trial) for trial in trials_of(2, 2)]
    log = EpisodeLog(tmp_path / "log")
    for record in records:
        log.append(record)
    lines = log.path.read_bytes().splitlines()
    lines[2] = damage(lines[2])
    log.path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.warns(DamagedLineWarning, match=r"log, line 3 is damaged and left out: "):
        found = EpisodeLog(log.path)
    assert list(found.records.values()) == [*records[:2], records[3]]


def test_a_log_without_checksums_is_read_by_type(tmp_path):
    record = record_of(trials_of(1, 1)[0])
    old = dataclasses.asdict(record)
    bad = [{**old, "task": "0"}, {**old, "steps": -1}, {**old, "seconds": {}}, {"suite": "a"}]
    text = "".join(json.dumps(each) + "\n" for each in [*bad, old])
    (tmp_path / "log").write_text(text)
    with pytest.warns(DamagedLineWarning) as warned:
        assert list(EpisodeLog(tmp_path / "log").records.values()) == [record]
    assert len(warned) == 4


def test_the_official_protocol_has_no_deviations():
    assert deviations(EvaluationProtocol(execute=8), 50, some_tasks=False) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"starts": "random"}, "random placements (seed 0, regions wider by 0.05 m"),
        ({"settle_steps": 5}, "5 settling steps"),
        ({"step_limit": 100}, "100 steps at most"),
        ({"image_size": 128}, "128 px"),
    ],
)
def test_every_deviation_is_said(change, words):
    (said,) = deviations(EvaluationProtocol(execute=8, **change), 50, some_tasks=False)
    assert words in said


def test_limits_are_those_of_the_suites():
    official = EvaluationProtocol(execute=8)
    assert [official.limit(s) for s in ("libero_spatial", "libero_object_swap", "libero_10")] == [
        220, 280, 520,
    ]  # fmt: skip
    assert EvaluationProtocol(execute=8, step_limit=7).limit("libero_90") == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("execute", 0),
        ("placement_margin", -0.1),
        ("seed", -1),
        ("settle_steps", -1),
        ("step_limit", 0),
    ],
)
def test_bad_protocols_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        EvaluationProtocol(**{"execute": 8, field: value})


def test_placements_differ_from_each_other_and_from_demonstrations():
    from rfsq_jax.libero.demonstrations.generation import attempt_seeds

    trials = [
        Trial(s, t, n) for s in (SUITE, "libero_object") for t in range(10) for n in range(50)
    ]
    seeds = {placement_seed(trial, seed) for trial in trials for seed in (0, 1)}
    assert len(seeds) == 2 * len(trials)
    known = {attempt_seeds(task, 0, n)[0] for task in tasks(SUITE) for n in range(60)}
    assert not seeds & known


def test_figures_add_up():
    chosen = list(tasks(SUITE)[:2])
    records = [record_of(trial, success=trial.number > 0) for trial in trials_of(2, 4)]
    figures = suite_figures(records, chosen)
    assert figures[SUITE]["successes"] == 6
    assert figures[SUITE]["trials"] == 8
    assert [task["successes"] for task in figures[SUITE]["tasks"]] == [3, 3]
    assert figures[SUITE]["interval"][0] < 0.75 < figures[SUITE]["interval"][1]
    table = success_table(figures)
    assert "6/8" in table
    assert table.count("3/4") == 2
    assert "mean of 2 suites" in success_table(figures | {"libero_spatial_swap": figures[SUITE]})
    spent = time_figures(records)
    chunks = sum(record.chunks for record in records)
    assert spent["seconds_per_chunk"]["render"] == pytest.approx(8 / chunks)
    json.dumps(figures)
    with pytest.raises(ValueError, match="trials > 0"):
        rate([])


@pytest.mark.parametrize(
    ("mujoco", "robosuite", "warnings"),
    [("3.3.2", "1.4.0", 0), ("3.3.3", "1.4.0", 1), ("3.10.0", "1.4.0", 2), ("3.3.2", "1.5.1", 1)],
)
def test_versions_that_change_results_are_named(mujoco, robosuite, warnings):
    found = known_changes({"mujoco": mujoco, "robosuite": robosuite})
    assert len(found) == warnings


def test_the_renderer_has_a_name():
    simulator = describe_simulator()
    assert simulator["opengl"] in {"egl", "osmesa"}
    assert len(simulator["renderer"]) > 3


def test_protocols_of_older_runs_are_read():
    assert current_names({"spread": 0.1, "seed": 0}) == {"placement_margin": 0.1, "seed": 0}
