"""Writers of training curves; wandb is a stand-in that keeps what it is told."""

import json
import sys
import types
import warnings

import pytest

from rfsq_jax.runs.line_files import DamagedLineWarning
from rfsq_jax.training.metrics import FileWriter, MetricWriter, open_writer


class FakeRun:
    def __init__(self, **options):
        self.options, self.id = options, options["id"] or "made-up"
        self.sent, self.exit_code = [], None

    def log(self, scalars, step):
        self.sent.append((step, scalars))

    def finish(self, exit_code):
        self.exit_code = exit_code


@pytest.fixture
def runs(monkeypatch):
    """The runs that were begun with the stand-in for wandb."""
    begun = []

    def init(**options):
        begun.append(FakeRun(**options))
        return begun[-1]

    monkeypatch.setenv("WANDB_PROJECT", "tokens")
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    return begun


def steps(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_named_project_gets_what_the_files_get(tmp_path, runs):
    folder = tmp_path / "robust"
    with open_writer(folder, 0) as writer:
        assert isinstance(writer, MetricWriter)
        writer.write(10, {"loss": 0.5})
    (run,) = runs
    assert (run.options["project"], run.options["name"]) == ("tokens", "robust")
    assert (run.sent, run.exit_code) == ([(10, {"loss": 0.5})], 0)
    assert steps(folder) == [10]


def test_a_resumed_run_stays_the_same_and_a_new_one_does_not(tmp_path, runs):
    for step in (0, 10, 0):
        with open_writer(tmp_path, step):
            pass
    assert [run.options["id"] for run in runs] == [None, "made-up", None]


def test_a_run_that_dies_is_marked_so(tmp_path, runs):
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path, 0):
        raise KeyboardInterrupt
    assert runs[0].exit_code == 1


def test_without_a_project_only_files_are_written(tmp_path, runs, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT")
    with open_writer(tmp_path, 0) as writer:
        writer.write(10, {"loss": 0.5})
    assert (runs, steps(tmp_path)) == ([], [10])


def test_only_the_first_process_writes(tmp_path, runs, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with open_writer(tmp_path / "run", 0) as writer:
        writer.write(10, {"loss": 0.5})
    assert runs == []
    assert not (tmp_path / "run").exists()


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "tokens")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"rfsq-jax\[wandb\]"), open_writer(tmp_path, 0):
        pass


def test_a_resumed_curve_has_no_step_twice(tmp_path):
    with FileWriter(tmp_path, step=0) as writer:
        for step in (10, 20, 30):
            writer.write(step, {"loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as torn:
        torn.write('{"step": 40, "lo')
    with pytest.warns(DamagedLineWarning, match=r"metrics\.jsonl, line 4 .* to its end"):
        writer = FileWriter(tmp_path, step=20)
    with writer:
        writer.write(30, {"loss": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert lines[-1]["loss"] == 0.5


@pytest.mark.parametrize("damage", ["{broken", "[1]", "3", '{"step": NaN}', "\xff", '{"loss": 1}'])
def test_a_damaged_curve_forbids_nothing(tmp_path, damage):
    good = '{"step": 10, "loss": 0.5}\n'
    (tmp_path / "metrics.jsonl").write_bytes(f"{damage}\n{good}".encode("latin-1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedLineWarning)
        with FileWriter(tmp_path, step=20):
            pass
    assert (tmp_path / "metrics.jsonl").read_text() == good
