"""Reading features: any rows, and nothing that is not what it should be."""

import dataclasses
import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfsq_jax.backbones.protocol import DEPTHS, EARLY, FINAL, Depth
from rfsq_jax.data.action_space import Normalization
from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.features.frames import choose_frames, load_episodes
from rfsq_jax.features.shards import DTYPES
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.tokenizers.step import ActionTokenizer
from tests.support.descriptions import change
from tests.support.fakes import SPEC, Patches
from tests.support.features import make, run_of


@pytest.fixture(scope="module", params=["float16", "bfloat16"])
def store(request, tmp_path_factory):
    return make(run_of(tmp_path_factory.mktemp("store"), dtype=request.param))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """By episode's number: its demonstration with pictures."""
    run = run_of(tmp_path_factory.mktemp("sources"))
    files = {path: read_hdf5(path, images=True) for path in run.images[0].glob("*.hdf5")}
    found = {}
    for clip in choose_frames(run, load_episodes(run)):
        assert clip.source.file is not None
        path, place = clip.source.file
        found[clip.number] = files[path][place]
    return found


@pytest.fixture
def folder(tmp_path):
    make(run_of(tmp_path))
    return tmp_path / "features"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_come_in_the_order_asked(store, data):
    rows = np.array(data.draw(st.lists(st.integers(0, len(store) - 1), max_size=20)), np.int64)
    for depth in DEPTHS:
        everything = store.gather(depth, np.arange(len(store)))
        got = store.gather(depth, rows)
        assert str(got.dtype) == store.manifest.dtype
        np.testing.assert_array_equal(got.astype(np.float32), everything[rows].astype(np.float32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
@given(data=st.data())
def test_gathered_rows_are_what_the_backbone_says(store, sources, data):
    """Any rows, twice or not, against the backbone run on exactly those pictures."""
    rows = np.array(data.draw(st.lists(st.integers(0, len(store) - 1), min_size=1, max_size=9)))
    episodes = [sources[number] for number in store.episode[rows]]
    words = [episode.instruction for episode in episodes]
    views = [
        np.stack([view[frame] for view in episode.images.values()])
        for episode, frame in zip(episodes, store.frame[rows], strict=True)
    ]
    dtype = DTYPES[store.manifest.dtype]
    for depth in DEPTHS:
        direct = np.asarray(Patches().embed(np.stack(views), words, store.state[rows], depth))
        got = store.gather(depth, rows).astype(np.float32)
        # Half a unit in the last place of each dtype, and a little for the order of sums.
        np.testing.assert_allclose(
            got, direct, rtol=0.51 * float(ml_dtypes.finfo(dtype).eps), atol=1e-6
        )
        named = [store.manifest.instructions[each] for each in store.instruction[rows]]
        assert named == words


def test_splits_are_whole_episodes(store):
    train, held_out = store.rows("train"), store.rows("held_out")
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), store.rows("all"))
    assert not set(store.episode[train]) & set(store.episode[held_out])
    with pytest.raises(ValueError, match="split must be one of train, held_out, all"):
        store.rows("test")


def test_rows_and_depths_that_do_not_exist_are_refused(store):
    with pytest.raises(IndexError, match=f"rows must be in 0..{len(store) - 1}"):
        store.gather(FINAL, np.array([0, len(store)]))
    with pytest.raises(ValueError, match="depth must be one of early, final"):
        store.gather("middle", np.array([0]))


def test_features_fit_their_heads_or_are_refused(store):
    space = ActionTokenizer.from_pretrained("libero").space
    store.require(SPEC, space)
    others = {
        "backbone": dataclasses.replace(SPEC, version="ffffffffffffffff"),
        "depths": dataclasses.replace(SPEC, depths={**SPEC.depths, EARLY: Depth(9, 4, 8)}),
    }
    for field, spec in others.items():
        with pytest.raises(ValueError, match=f"features' {field} must be .* got"):
            store.require(spec, space)
    longer = dataclasses.replace(space, horizon=4)
    with pytest.raises(ValueError, match=r"chunk shape .* \(4, 7\), got \(8, 7\)"):
        store.require(SPEC, longer)
    shifted = Normalization(space.normalization.low - 0.1, space.normalization.high)
    other = dataclasses.replace(space, normalization=shifted)
    with pytest.raises(ValueError, match="action statistics"):
        store.require(SPEC, other)


def test_damage_is_named(folder):
    with pytest.raises(FileNotFoundError, match="no features in"):
        FeatureStore.open(folder / "elsewhere")
    features = folder / "shard-00001" / "final.npy"
    content = features.read_bytes()
    features.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"shard-00001.final\.npy must have \d+ bytes, got \d+"):
        FeatureStore.open(folder)
    flipped = bytearray(content)
    flipped[-1] ^= 1
    features.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"final\.npy was altered"):
        FeatureStore.open(folder)
    FeatureStore.open(folder, verify=False)
    features.unlink()
    with pytest.raises(ValueError, match=r"final\.npy is missing"):
        FeatureStore.open(folder)
    (folder / "shard-00001" / "shard.json").unlink()
    with pytest.raises(ValueError, match=r"shard\.json is missing; run train\.features again"):
        FeatureStore.open(folder)


def test_unfinished_and_newer_folders_are_refused(folder):
    manifest = folder / "features.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "format_version": 99}))
    with pytest.raises(ValueError, match="format version 99, this rfsq_jax reads up to 2"):
        FeatureStore.open(folder)
    manifest.unlink()
    with pytest.raises(ValueError, match=r"is unfinished; run train\.features again"):
        FeatureStore.open(folder)


def test_features_of_the_first_format_are_read(folder):
    """They had no hashes: nothing but names, types and checksums is compared."""
    manifest = folder / "features.json"
    values = json.loads(manifest.read_text())
    del values["sha256"]
    names = [shard["name"] for shard in values["shards"]]
    old = {**values, "format_version": 1, "shards": names}
    for name in names:
        described = json.loads((folder / name / "shard.json").read_text())
        del described["sha256"]
        (folder / name / "shard.json").write_text(json.dumps(described))
    manifest.write_text(json.dumps(old))
    assert len(FeatureStore.open(folder)) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shards": [{"name": "../elsewhere", "sha256": None}]}, "name of a folder beside"),
        ({"shards": [{"name": "s", "sha256": None}] * 2}, "shards must be without repeats"),
        ({"shards": []}, "shards must be at least one"),
        ({"dtype": "float8"}, "dtype must be 'float16' or 'bfloat16', got 'float8'"),
        ({"depths": {}}, "depths must be early, final"),
        ({"action_statistics": {"low": [0.0]}}, "action_statistics"),
        ({"instructions": [3]}, "instructions.0 must be a valid string, got 3"),
    ],
)
def test_a_manifest_that_no_run_writes_is_named(folder, changes, message):
    change(folder / "features.json", **changes)
    with pytest.raises(ValueError, match=rf"features\.json.*{message}"):
        FeatureStore.open(folder)


def test_every_change_of_a_description_is_noticed(folder):
    for path in (folder / "features.json", folder / "shard-00001" / "shard.json"):
        text = path.read_text()
        for key, value in json.loads(text).items():
            path.write_text(json.dumps({**json.loads(text), key: [value]}))
            with pytest.raises(ValueError, match=path.name):
                FeatureStore.open(folder)
        path.write_text(text)
    FeatureStore.open(folder)


def test_shards_cannot_change_places(folder):
    first, second, aside = (folder / name for name in ("shard-00000", "shard-00001", "aside"))
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    with pytest.raises(ValueError, match=r"shard\.json is not the one that features\.json names"):
        FeatureStore.open(folder)
