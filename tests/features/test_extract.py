"""What train.features writes: the right frames, once, whatever happens."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from rfsq_jax.backbones.protocol import DEPTHS
from rfsq_jax.data.episodes import episode_chunks, split_episodes
from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.frames import choose_frames, load_episodes
from rfsq_jax.runs.claims import CONFIG
from tests.support.fakes import SPEC, Patches, write_demonstrations
from tests.support.features import LENGTHS, make, run_of
from tests.support.processes import kill_when

ROOT = Path(__file__).parents[2]


def episodes_of(run):
    return [
        each for path in sorted(run.images[0].glob("*")) for each in read_hdf5(path, images=True)
    ]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in [*sorted(folder.rglob("*.npy")), folder / "features.json"]
    }


def test_frames_chunks_and_features_line_up(tmp_path):
    run, backbone = run_of(tmp_path), Patches()
    store, episodes = make(run), {each.source: each for each in episodes_of(run)}
    clips = choose_frames(run, load_episodes(run))
    assert len(np.unique(store.episode)) == len(clips) == 2 * len(LENGTHS)
    for number, clip in enumerate(clips):
        episode = episodes.pop(clip.source.episode.source)
        rows = np.flatnonzero(store.episode == number)
        frames = store.frame[rows]
        expected = np.arange(number % run.stride, len(episode) - run.horizon + 1, run.stride)
        np.testing.assert_array_equal(frames, expected)
        chunks = episode_chunks(episode.actions, run.horizon)[frames]
        np.testing.assert_array_equal(store.actions[rows], chunks)
        np.testing.assert_array_equal(store.state[rows], episode.state[frames])
        assert episode.images is not None
        images = np.stack([view[frames] for view in episode.images.values()], axis=1)
        words = [episode.instruction] * len(rows)
        for depth in DEPTHS:
            direct = backbone.embed(images, words, episode.state[frames], depth)
            stored = store.gather(depth, rows).astype(np.float32)
            np.testing.assert_allclose(stored, direct, rtol=2e-3, atol=2e-3)
        named = {store.manifest.instructions[place] for place in store.instruction[rows]}
        assert named == {episode.instruction}


def test_the_split_is_the_one_that_tokenizers_are_trained_on(tmp_path):
    run = run_of(tmp_path)
    recordings = load_episodes(run)
    _, held_out = split_episodes(recordings, run.held_out, run.seed)
    sources = {each.episode.source for each in held_out}
    clips = choose_frames(run, recordings)
    assert {c.source.episode.source for c in clips if c.held_out} == sources
    few = choose_frames(dataclasses.replace(run, episodes=8), recordings)
    assert len(few) == 8
    assert all((c.source.episode.source in sources) == c.held_out for c in few)
    per_task = [
        sum(c.held_out for c in few if c.source.group == g) for g in {c.source.group for c in few}
    ]
    assert per_task == [1, 1]
    for split, wanted in (("train", False), ("held_out", True)):
        part = choose_frames(dataclasses.replace(run, split=split), recordings)
        assert {c.held_out for c in part} == {wanted}


def test_workers_and_batches_change_nothing(tmp_path):
    run = run_of(tmp_path)
    make(run)
    others = [{"workers": 1}, {"batch_size": 4, "workers": 3}]
    for number, change in enumerate(others):
        other = dataclasses.replace(run, output=tmp_path / f"other{number}", **change)
        make(other)
        assert contents(other.output) == contents(run.output)


def test_a_killed_run_goes_on_and_repeats_nothing(tmp_path):
    whole, broken = run_of(tmp_path), run_of(tmp_path, output=tmp_path / "broken")
    make(whole)
    code = (
        "from pathlib import Path\n"
        "from tests.support.fakes import StuckPatches\n"
        "from tests.support.features import make, run_of\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "run = run_of(folder, output=folder / 'broken', workers=1)\n"
        "make(run, StuckPatches(run.output))\n"
    )
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    kill_when(process, lambda: list(broken.output.glob("shard-*/shard.json")))
    finished = {path: path.stat().st_mtime_ns for path in broken.output.glob("shard-*/*")}
    assert finished
    assert not (broken.output / "features.json").exists()
    make(broken)
    assert contents(broken.output) == contents(whole.output)
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items())


def test_a_folder_belongs_to_its_options(tmp_path):
    make(run_of(tmp_path))
    with pytest.raises(ValueError, match="stride: there 3, here 2"):
        make(run_of(tmp_path, stride=2))
    other = Patches(dataclasses.replace(SPEC, version="ffffffffffffffff"))
    with pytest.raises(ValueError, match="backbone_version"):
        make(run_of(tmp_path), other)


def test_processes_share_the_shards(tmp_path, monkeypatch):
    whole, shared = run_of(tmp_path), run_of(tmp_path, output=tmp_path / "shared")
    make(whole)
    # The first process has claimed the folder already.
    shared.output.mkdir()
    shutil.copy(whole.output / CONFIG, shared.output)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr("jax.experimental.multihost_utils.sync_global_devices", lambda name: None)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(ValueError, match="is unfinished"):
        make(shared)
    numbers = sorted(int(path.name[-5:]) for path in shared.output.glob("shard-*"))
    assert numbers
    assert all(number % 2 == 1 for number in numbers)
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    make(shared)
    assert contents(shared.output) == contents(whole.output)


def test_an_episode_without_images_is_named(tmp_path):
    path = tmp_path / "blind_demo.hdf5"
    write_demonstrations(path, (20, 20, 20), images=False)
    with pytest.raises(ValueError, match=r"blind_demo\.hdf5/demo_\d must hold images of agentview"):
        make(run_of(tmp_path, images=(path,)))


def test_figures_are_written(tmp_path):
    run = run_of(tmp_path)
    store = make(run)
    figures = json.loads((run.output / "results.json").read_text())["figures"]
    assert figures["frames"] == len(store)
    assert figures["episodes"] == 12
    size = sum(path.stat().st_size for path in run.output.rglob("*.npy"))
    assert figures["bytes"] == size


OF_JPEG_FILES: dict[str, Any] = {"backbone": "openvla-oft", "backbone_options": {"jpeg": False}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride must be at least 1"),
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"split": "test"}, "split must be one of"),
        ({"dtype": "float64"}, "dtype must be one of"),
        ({"held_out": 1.0}, "held_out must be in"),
        ({**OF_JPEG_FILES}, "backbone_options must be without jpeg False"),
        (
            {**OF_JPEG_FILES, "images": (Path("a"),), "demos": (Path("b"),)},
            "backbone_options must be without jpeg False",
        ),
    ],
)
def test_options_validate_themselves(options, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        FeaturesRun(**options)


def test_stored_images_may_be_out_of_jpeg_files():
    run = FeaturesRun(images=(Path("a"),), **OF_JPEG_FILES)
    assert run.as_tensorflow
    plain = FeaturesRun(images=(Path("a"),), backbone="openvla-oft")
    assert not plain.as_tensorflow
    assert run.identity() != plain.identity()


def test_options_of_another_backbone_are_refused():
    with pytest.raises(ValueError, match=r"option must be one of resolution, .* got 'jpeg'"):
        FeaturesRun(backbone_options={"jpeg": False})


def test_no_files_and_another_horizon_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="images must name HDF5 files"):
        load_episodes(FeaturesRun(images=(tmp_path,)))
    with pytest.raises(ValueError, match=r"horizon must be the tokenizer's \(8\), got 4"):
        make(run_of(tmp_path, horizon=4))
