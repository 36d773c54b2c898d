import numpy as np
import pytest

from rfsq_jax.libero.demonstrations import bundled
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
    with pytest.raises(ValueError, match=r"suite.npz is not a readable bundle"):
        bundled.read_bundle(path)


def test_another_format_version_is_refused(tmp_path):
    path = tmp_path / "suite.npz"
    np.savez(path, format_version=np.int32(99))
    with pytest.raises(ValueError, match="format version 1, got 99"):
        bundled.read_bundle(path)


def test_a_bundle_holds_one_suite(tmp_path):
    with pytest.raises(ValueError, match="one suite, got no demonstrations"):
        bundled.write_bundle(tmp_path / "suite.npz", [])


def test_a_suite_without_a_bundle_is_refused():
    with pytest.raises(ValueError, match="libero_moon"):
        bundled.load_bundled("libero_moon")
