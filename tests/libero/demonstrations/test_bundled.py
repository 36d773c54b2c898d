import numpy as np
import pytest

from rfsq_jax.libero.demonstrations import bundled
from rfsq_jax.runs.arrays import read_npz
from tests.support.demonstrations import assert_same, make_demonstration


def test_a_bundle_gives_back_every_demonstration(tmp_path):
    written = [make_demonstration(seed, num_steps=3 + seed, num_fixtures=seed) for seed in range(4)]
    bundled.write_bundle(tmp_path / "suite.npz", written)
    read = bundled.read_bundle(tmp_path / "suite.npz")
    assert len(read) == len(written)
    for got, expected in zip(read, written, strict=True):
        assert_same(got, expected)
        assert got.trace is None


def test_a_truncated_bundle_is_named(tmp_path):
    path = tmp_path / "suite.npz"
    bundled.write_bundle(path, [make_demonstration(0)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"suite.npz is not a whole NPZ file"):
        bundled.read_bundle(path)


def test_another_format_version_is_refused(tmp_path):
    path = tmp_path / "suite.npz"
    np.savez(path, format_version=np.int32(99))
    with pytest.raises(ValueError, match="format version 1 to 2, got 99"):
        bundled.read_bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": None}, r"state must be float32 \(None, 8\), got none"),
        ({"actions": np.zeros((6, 7))}, r"actions must be int16 \(None, 7\), got float64 \(6, 7\)"),
        ({"fixtures": np.zeros(14)}, r"fixtures must be float64 \(None, 7\), got float64 \(14,\)"),
        ({"format_version": np.ones(2)}, r"format_version must be int32 \(\), got float64 \(2,\)"),
        ({"length": np.array([7], np.int32)}, r"not a whole bundle: lengths .* 6 rows, got \[7\]"),
        ({"length": np.array([-1, 7], np.int32)}, "its 2 episodes must each have one of"),
        ({"num_fixtures": np.array([-2], np.int32)}, r"lengths .* 2 rows, got \[-2\]"),
        ({"task_name": np.array(["a", "b"])}, "its 1 episodes must each have one of .*name': 2"),
    ],
)
def test_arrays_that_are_no_bundle_are_named(tmp_path, change, message):
    path = tmp_path / "suite.npz"
    bundled.write_bundle(path, [make_demonstration(0)])
    arrays = {**read_npz(path), **change}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=rf"suite\.npz.* ({message}|is damaged: its sha256)"):
        bundled.read_bundle(path)
    # Of the first format, which had no hash.
    arrays = {"format_version": np.array(1, np.int32), **arrays}
    del arrays[bundled.HASH]
    np.savez(path, **{**arrays, "format_version": change.get("format_version", np.int32(1))})
    with pytest.raises(ValueError, match=rf"suite\.npz.* {message}"):
        bundled.read_bundle(path)


def test_a_bundle_holds_one_suite(tmp_path):
    with pytest.raises(ValueError, match="one suite, got no demonstrations"):
        bundled.write_bundle(tmp_path / "suite.npz", [])


def test_a_suite_without_a_bundle_is_refused():
    with pytest.raises(ValueError, match="libero_moon"):
        bundled.load_bundled("libero_moon")
