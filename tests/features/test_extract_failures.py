"""What train.features says and leaves when something goes wrong, and what it then goes on with."""

import dataclasses
import json
import os
import shutil

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.backbones.protocol import EARLY, FINAL
from rfsq_jax.features import extract
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.parallel.calls import WorkerDiedError
from tests.support.fakes import Patches
from tests.support.features import make, run_of


class Scaled(Patches):
    """Early features of any size."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def early(self, params, inputs):
        tokens, carry = super().early(params, inputs)
        return jnp.abs(tokens) * self.scale + self.scale, carry


def notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", []))


def times(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.glob("shard-*/*"))}


def change_file(folder, change):
    with h5py.File(folder / "demos" / "put_it_there_demo.hdf5", "a") as file:
        change(file)


def test_a_failing_episode_is_named_and_finished_shards_stay(tmp_path, monkeypatch):
    run = run_of(tmp_path, workers=1)
    read, broken = extract.stored_images, "put_it_there_demo.hdf5/demo_2"

    def fail(chosen, as_tensorflow):
        if chosen.source.episode.source == broken:
            raise ValueError("no such picture")
        return read(chosen, as_tensorflow)

    monkeypatch.setattr(extract, "stored_images", fail)
    with pytest.raises(ValueError, match="no such picture") as raised:
        make(run)
    assert broken in notes(raised.value)
    finished = times(run.output)
    assert finished
    assert not (run.output / "features.json").exists()
    monkeypatch.undo()
    make(run)
    assert {path: times(run.output)[path] for path in finished} == finished


def test_an_instruction_that_the_backbone_refuses_is_named(tmp_path):
    run = run_of(tmp_path)
    shutil.copy(run.images[0] / "put_it_here_demo.hdf5", run.images[0] / "_demo.hdf5")
    with pytest.raises(ValueError, match="instruction 0 must not be empty") as raised:
        make(run)
    assert "_demo.hdf5/demo_" in notes(raised.value)


@pytest.mark.parametrize("lost", [BrokenPipeError, WorkerDiedError])
def test_a_lost_simulator_or_disk_ends_the_run(tmp_path, monkeypatch, lost):
    def fail(chosen, as_tensorflow):
        raise lost("gone")

    monkeypatch.setattr(extract, "stored_images", fail)
    with pytest.raises((BrokenPipeError, RuntimeError)):
        make(run_of(tmp_path))


def test_features_that_a_dtype_cannot_hold_are_refused(tmp_path):
    great = Scaled(1e5)
    with pytest.raises(ValueError, match=r"early features must be finite in float16, got inf; bf"):
        make(run_of(tmp_path), great)
    store = make(run_of(tmp_path, dtype="bfloat16", output=tmp_path / "brain"), great)
    assert store.gather(EARLY, np.arange(3)).astype(np.float32).min() >= 9e4
    with pytest.raises(ValueError, match="must be finite in bfloat16, got nan"):
        make(run_of(tmp_path, dtype="bfloat16", output=tmp_path / "nan"), Scaled(np.nan))


@pytest.mark.parametrize("column", ["actions", "state"])
def test_demonstrations_that_changed_are_not_mixed(tmp_path, column):
    run = run_of(tmp_path)
    make(run)
    name = {"actions": "actions", "state": "obs/ee_states"}[column]

    def shift(file):
        file[f"data/demo_0/{name}"][...] = 0.25

    # run_of writes the demonstrations anew, so the same run is kept.
    change_file(tmp_path, shift)
    before = times(run.output)
    with pytest.raises(ValueError, match=rf"{column}\.npy must hold what the demonstrations give"):
        make(run)
    assert times(run.output) == before


def test_an_added_file_does_not_shift_finished_shards(tmp_path):
    run = run_of(tmp_path)
    make(run)
    shutil.copy(run.images[0] / "put_it_here_demo.hdf5", run.images[0] / "a_new_demo.hdf5")
    with pytest.raises(ValueError, match="they have changed since"):
        make(run)


def test_a_finished_shard_cut_short_is_found_before_any_work(tmp_path):
    run = run_of(tmp_path)
    make(run)
    (run.output / "features.json").unlink()
    shutil.rmtree(run.output / "shard-00000")
    cut = run.output / "shard-00002" / "early.npy"
    cut.write_bytes(cut.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"shard-00002.early\.npy must have \d+ bytes, got \d+"):
        make(run)
    assert not (run.output / "shard-00000").exists()


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    run = run_of(tmp_path)
    leftover = run.output / ".shard-00001.999999.tmp"
    leftover.mkdir(parents=True)
    (leftover / "early.npy").write_bytes(b"half")
    make(run)
    assert [path.name for path in run.output.glob(".*")] == []


def test_a_lost_shard_alone_is_made_again(tmp_path):
    run = run_of(tmp_path)
    store = make(run)
    rows = np.arange(len(store))
    expected = store.gather(FINAL, rows)
    shutil.rmtree(run.output / "shard-00001")
    with pytest.raises(ValueError, match=r"shard-00001.shard\.json is missing"):
        FeatureStore.open(run.output)
    before = times(run.output)
    np.testing.assert_array_equal(make(run).gather(FINAL, rows), expected)
    after = times(run.output)
    assert {path for path in after if after[path] != before.get(path)} == set(
        (run.output / "shard-00001").iterdir()
    )


@pytest.mark.parametrize("name", ["features.json", "shard-00000/shard.json"])
@pytest.mark.parametrize("text", ["{", "{}", '{"format_version": 1}'])
def test_damaged_descriptions_are_named(tmp_path, name, text):
    run = run_of(tmp_path)
    make(run)
    (run.output / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        FeatureStore.open(run.output)


def test_a_column_that_was_altered_is_named(tmp_path):
    run = run_of(tmp_path)
    make(run)
    path = run.output / "shard-00001" / "actions.npy"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"shard-00001.actions\.npy was altered"):
        FeatureStore.open(run.output)


def test_a_full_disk_leaves_no_shard(tmp_path, monkeypatch):
    run = run_of(tmp_path, workers=1)

    def fail(path, array, **options):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        make(run)
    assert [path.name for path in run.output.iterdir()] == ["config.json"]


def test_batch_size_changes_nothing_that_float16_shows(tmp_path):
    stores = [
        make(run_of(tmp_path, batch_size=size, output=tmp_path / str(size))) for size in (1, 3, 16)
    ]
    rows = np.arange(len(stores[0]))
    for depth in (EARLY, FINAL):
        first = stores[0].gather(depth, rows)
        for other in stores[1:]:
            # Sums may be ordered otherwise: at most the last bit differs.
            got = other.gather(depth, rows)
            np.testing.assert_array_max_ulp(got, first, maxulp=1)


def test_a_run_goes_on_with_another_number_of_workers(tmp_path):
    run = run_of(tmp_path, workers=2)
    make(run)
    shutil.rmtree(run.output / "shard-00000")
    make(dataclasses.replace(run, workers=1))
    figures = json.loads((run.output / "results.json").read_text())["figures"]
    assert 0 < figures["now"]["frames"] < figures["frames"]
