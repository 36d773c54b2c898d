"""One run in two processes of four devices each: the same results, and an end in common."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from rfsq_jax import ActionTokenizer
from rfsq_jax.backbones import make_backbone
from rfsq_jax.backbones.protocol import DEPTHS
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.policies.files import load_policy
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.heads.training import PolicyRun
from tests.support.feature_store import make_store
from tests.support.features import demonstrations
from tests.support.run_in_processes import finish, output_of, running, wait_for

STEPS, OFTEN = 60, 20
AE_CONFIG = f"""
import dataclasses
from configs.robust import get_config as usual

def get_config():
    config = usual()
    loop = dataclasses.replace(
        config.training.loop, steps={STEPS}, steps_per_call=2, evaluate_every={OFTEN}
    )
    training = dataclasses.replace(config.training, loop=loop)
    return dataclasses.replace(config, training=training, against=None, suites=("libero_goal",))
"""
HEADS = ["--training.loop.steps", "12", "--training.loop.steps-per-call", "2"]
HEADS += ["--training.loop.evaluate-every", "6", "--training.batch-size", "16"]
HEADS += ["--training.model.main.width", "16", "--training.model.main.num-blocks", "1"]
HEADS += ["--training.model.main.num-heads", "2"]


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = {}
    for line in lines:
        found.setdefault(line.pop("step"), {}).update(line)
    return found


def assert_same_curves(one, other):
    assert one.keys() == other.keys()
    for step, values in one.items():
        assert values.keys() == other[step].keys()
        for name, value in values.items():
            assert other[step][name] == pytest.approx(value, rel=2e-3, abs=2e-5), (step, name)


def assert_same_tokenizers(one, other):
    first, second = (weights(each / "tokenizer") for each in (one, other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), first, second)


def weights(folder):
    tokenizer = ActionTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, StepTokenizer)
    return tokenizer.params


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "short.py"
    path.write_text(AE_CONFIG)
    return str(path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, config):
    """The run in one process, from the beginning to the end."""
    folder = tmp_path_factory.mktemp("alone")
    with running(ae(config, folder / "run"), folder / "log") as processes:
        assert finish(processes) == [0], output_of(folder / "log")
    return folder / "run"


def ae(config, folder):
    return ["train.ae", "--config", config, "--output", str(folder)]


def test_a_killed_process_ends_the_other_and_one_process_goes_on(config, alone, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    with running(ae(config, folder), log, processes=2) as processes:
        wait_for(folder / "checkpoints" / str(OFTEN), processes)
        processes[1].kill()
        assert finish(processes) == [1, -signal.SIGKILL], output_of(log)
    lost = f"train.ae: process 1 (pid {processes[1].pid} on "
    (line,) = [each for each in output_of(log).splitlines() if lost in each]
    assert "ended before the run was over" in line
    assert line.endswith("the same command goes on from there")
    assert not (folder / "tokenizer").exists()
    with running(ae(config, folder), log) as processes:
        assert finish(processes) == [0], output_of(log)
    assert_same_curves(metrics(alone), metrics(folder))
    assert_same_tokenizers(alone, folder)


@pytest.mark.slow
def test_a_stopped_process_has_saved_and_two_go_on(config, alone, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    with running(ae(config, folder), log) as processes:
        wait_for(folder / "checkpoints" / str(OFTEN), processes)
        processes[0].terminate()
        assert finish(processes) == [143], output_of(log)
    assert "train.ae: terminated (SIGTERM); what was finished is kept" in output_of(log)
    steps = [int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit()]
    assert max(steps) % OFTEN, steps
    with running(ae(config, folder), log, processes=2) as processes:
        assert finish(processes) == [0, 0], output_of(log)
    assert "robust" in output_of(log)
    assert "robust" not in output_of(log, 1)
    assert_same_curves(metrics(alone), metrics(folder))
    assert_same_tokenizers(alone, folder)


def test_one_of_two_is_asked_to_stop_and_both_save(config, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    with running(ae(config, folder), log, processes=2) as processes:
        wait_for(folder / "checkpoints" / str(OFTEN), processes)
        processes[1].terminate()
        assert finish(processes) == [143, 143], output_of(log)
    for index in range(2):
        assert "train.ae: terminated (SIGTERM)" in output_of(log, index)
    assert not (folder / "tokenizer").exists()


@pytest.mark.slow
def test_heads_learn_the_same_in_two_processes(chunks, tmp_path):
    run = PolicyRun()
    tokenizer = ActionTokenizer.from_pretrained(run.tokenizer)
    spec = make_backbone("small", run.features.options).spec
    make_store(tmp_path / "features", tokenizer, chunks[::37][:4], 96, 40, spec)
    command = ["train.heads", "--features.output", str(tmp_path / "features"), *HEADS]
    for name, processes in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        mesh = ["--mesh.fsdp", "2"] if processes == 2 else []
        options = [*command, "--output", str(folder), *mesh]
        with running(options, tmp_path / "log", processes=processes) as started:
            assert finish(started) == [0] * processes, output_of(tmp_path / "log")
    assert_same_curves(metrics(tmp_path / "one"), metrics(tmp_path / "two"))
    one, two = (load_policy(tmp_path / name / "policy").params for name in ("one", "two"))
    kernels = [each["main"]["coarse_out"]["kernel"] for each in (one, two)]
    np.testing.assert_allclose(*kernels, atol=2e-3)


@pytest.mark.slow
def test_features_come_once_whoever_makes_them(tmp_path):
    folder = demonstrations(tmp_path / "demos")
    command = ["train.features", "--images", str(folder), "--episodes-per-shard", "2"]
    command += ["--workers", "1", "--held-out", "0.3"]
    for name, processes in (("one", 1), ("two", 2)):
        options = [*command, "--output", str(tmp_path / name)]
        with running(options, tmp_path / "log", processes=processes, devices=1) as started:
            assert finish(started) == [0] * processes, output_of(tmp_path / "log")
    shards = sorted(path.name for path in (tmp_path / "two").glob("shard-*"))
    assert len(shards) > 1
    # What a lost host had to make, the next run makes, of however many processes.
    shutil.rmtree(tmp_path / "two" / shards[1])
    with running([*options[:-1], str(tmp_path / "two")], tmp_path / "log") as started:
        assert finish(started) == [0], output_of(tmp_path / "log")
    one, two = (FeatureStore.open(tmp_path / name) for name in ("one", "two"))
    rows = np.arange(len(one))
    assert len(two) == len(one)
    for depth in DEPTHS:
        np.testing.assert_array_equal(two.gather(depth, rows), one.gather(depth, rows))
