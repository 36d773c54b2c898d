"""The command eval.libero on a simulator of a few sums, and the comparison of two runs."""

import functools
import json

import pytest

from eval import libero, libero_pair
from rfsq_jax.evaluation import libero as evaluation
from rfsq_jax.evaluation import results
from rfsq_jax.evaluation.protocol import Trial
from rfsq_jax.evaluation.settings import LiberoOptions, choose_tasks
from rfsq_jax.libero.tasks import SUITES
from rfsq_jax.policies import Policy
from rfsq_jax.policies.token_policy import TokenPolicy
from rfsq_jax.runs.descriptions import sealed
from rfsq_jax.runs.json_files import write_json
from tests.policies.test_token_policy import make_parts
from tests.support.commands import refusal
from tests.support.evaluation import Fault, Sums
from tests.support.fakes import Patches

SHORT = ("--tasks", "0", "1", "--trials", "3", "--step-limit", "12", "--workers", "1")


class Lucky(Sums):
    """Solves every second trial."""

    def success(self):
        return self.steps == 10 and self.trial.number % 2 == 0


class Luckier(Sums):
    """Solves all trials."""

    def success(self):
        return self.steps == 10


@pytest.fixture(scope="module")
def policy():
    return TokenPolicy(make_parts(), Patches())


@pytest.fixture
def unmeasured(monkeypatch):
    """Leaves out timing the policy, which takes seconds."""
    monkeypatch.setattr(results, "time_policy", lambda *_: {"act": 1.0})
    monkeypatch.setattr(results, "draft_figures", lambda *_: None)


@pytest.fixture
def play(monkeypatch, tmp_path, policy):
    """Runs the command in a folder of that name, with a simulator and a policy of a few sums."""
    load = Policy.from_pretrained

    def load_or_refuse(name, **options):
        return policy if name == "small" else load(name, **options)

    monkeypatch.setattr(Policy, "from_pretrained", load_or_refuse)

    def run(name="run", simulator=Lucky, options=SHORT):
        monkeypatch.setattr(evaluation, "LiberoSimulator", simulator)
        return libero.main([*options, "--output", str(tmp_path / name)]), tmp_path / name

    return run


def figures_of(folder):
    return json.loads((folder / "results.json").read_text())["figures"]


def test_a_run_leaves_table_results_and_films_of_failures(play, capsys):
    code, folder = play()
    assert code == 0
    shown, figures = capsys.readouterr().out, figures_of(folder)
    suite = figures["suites"]["libero_spatial"]
    assert (suite["successes"], suite["trials"]) == (4, 6)
    assert "4/6" in shown
    assert "not the official protocol: 3 trials per task instead of 50" in shown
    assert len(figures["episodes"]) == 6
    for each in figures["episodes"]:
        assert each["success"] == (each["trial"] != 1)
        assert each["initial_state"] == each["trial"]
        for kind in ("video", "filmstrip"):
            assert (each[kind] is None) == each["success"]
            assert each[kind] is None or (folder / each[kind]).stat().st_size > 100
    assert figures["time"]["policy"]["act"] > 0
    assert figures["time"]["seconds_per_chunk"].keys() >= {"render", "physics", "policy"}
    assert figures["draft"]["questions"] >= 1
    assert figures["rows_independent"] is True
    assert figures["simulator"]["versions"].keys() >= {"mujoco", "robosuite"}
    assert figures["policy"]["kind"] == "tokens"
    assert "66.7% on libero_spatial" in (folder / "report.html").read_text()


def test_the_same_command_adds_only_what_is_missing(play, unmeasured, capsys):
    _, folder = play(options=("--tasks", "0", "--trials", "2", "--step-limit", "12"))
    before = (folder / "episodes.jsonl").read_text()
    _, folder = play()
    assert (folder / "episodes.jsonl").read_text().startswith(before)
    assert len(figures_of(folder)["episodes"]) == 6
    line = refusal(lambda options: play(options=options), (*SHORT, "--batch", "2"), capsys)
    assert "batch: there 1, here 2" in line


def test_errors_leave_no_rate(play, unmeasured, tmp_path, capsys):
    marks = tmp_path / "marks"
    marks.mkdir()
    fault = Fault(Trial("libero_spatial", 1, 2), "error", marks)
    code, folder = play(simulator=functools.partial(Lucky, fault=fault))
    shown = capsys.readouterr()
    assert code == 1
    assert "%" not in shown.out
    assert "no rate, 1 episodes ended in errors" in shown.err
    assert "libero_spatial task 1 trial 2: ValueError: the simulator exploded" in shown.err
    assert figures_of(folder)["suites"] is None
    assert len(figures_of(folder)["errors"]) == 1
    assert "no rate, 1 episode" in (folder / "report.html").read_text()
    code, folder = play()
    assert code == 0
    assert figures_of(folder)["errors"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--policy", "nothing"), "no policy 'nothing'"),
        (("--suite", "libero_cups"), "suite must be one of"),
        (("--tasks", "10"), "tasks must be in 0..9 for libero_spatial, got (10,)"),
        (("--trials", "51"), "trials must be at most 50, the initial states of libero_spatial"),
        (("--execute", "9"), "execute must be at most 8"),
        (("--batch", "3"), "batch must be a power of two"),
    ],
)
def test_options_that_cannot_work_are_named(play, tmp_path, capsys, options, message):
    line = refusal(lambda options: play(options=options), options, capsys)
    assert line.startswith(f"eval.libero: {message}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [("--workers", "0"), ("--mode", "beam"), ("--speed", "9")])
def test_options_of_wrong_value_end_the_program(play, options):
    with pytest.raises(SystemExit) as ended:
        play(options=options)
    assert ended.value.code == 2


def test_all_is_the_five_suites():
    options = LiberoOptions(suite=("all",), tasks=(0,))
    assert [task.suite for task in choose_tasks(options)] == list(SUITES)


def test_two_runs_are_compared_episode_by_episode(play, unmeasured, tmp_path, capsys):
    _, first = play("first", Lucky)
    _, second = play("second", Luckier)
    capsys.readouterr()
    out = tmp_path / "pair.json"
    assert libero_pair.main([str(first), str(second / "results.json"), "--output", str(out)]) == 0
    paired = json.loads(out.read_text())["libero_spatial"]
    assert [paired[key] for key in ("both", "first", "second", "neither")] == [4, 0, 2, 0]
    assert paired["p_value"] == pytest.approx(0.5)
    assert "+33.3" in capsys.readouterr().out


def write_run(folder, **protocol):
    rules = {"starts": "official", "placement_margin": 0.0, "seed": 0}
    rules |= {"settle_steps": 10, "step_limit": None}
    start = {"suite": "s", "task": 0, "initial_state": 0, "placement_seed": None}
    figures = {
        "protocol": rules | protocol,
        "policy": {"name": "p", "kind": "tokens", "mode": "greedy"},
        "episodes": [start | {"trial": n, "success": True} for n in range(2)],
    }
    folder.mkdir()
    write_json(folder / "results.json", sealed({"figures": figures}))
    return figures


def test_runs_of_other_episodes_are_not_compared(tmp_path, capsys):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", starts="random")
    figures = write_run(tmp_path / "c")
    del figures["episodes"][1]
    write_json(tmp_path / "c" / "results.json", sealed({"figures": figures}))
    for other, message in (
        ("b", "starts of both runs must be the same, official, got 'random'"),
        ("c", "same episodes; 1 are in one only, such as {'suite': 's', 'task': 0, 'trial': 1"),
        ("d", "expected a results.json"),
    ):
        runs = [str(tmp_path / "a"), str(tmp_path / other)]
        assert message in refusal(libero_pair.main, runs, capsys)
    write_run(tmp_path / "e")
    write_json(tmp_path / "e" / "results.json", sealed({"figures": {"suites": None}}))
    runs = [str(tmp_path / "a"), str(tmp_path / "e")]
    assert "without errors" in refusal(libero_pair.main, runs, capsys)
