"""The small backbone against an independent EfficientNet, and the laws of every backbone."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.backbones import backbone_names, get_backbone
from rfsq_jax.backbones.protocol import EARLY, FINAL, Backbone
from rfsq_jax.backbones.small import SmallBackbone, SmallConfig, WeightsMissingError, efficientnet
from rfsq_jax.backbones.small import weights as weights_module
from rfsq_jax.backbones.small.weights import weights_file
from rfsq_jax.backbones.small.wording import embed_words
from rfsq_jax.libero.tasks import available_suites, tasks
from rfsq_jax.torch_files import read_state_dict

LAST_BLOCKS = (0, 2, 4, 7, 10, 14, 15)


@pytest.fixture(scope="module")
def backbone():
    return get_backbone("small")


@pytest.fixture(scope="module")
def weights():
    return read_state_dict(weights_file())


def pictures(batch=2, size=256, seed=0):
    shape = (batch, 2, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def states(batch=2):
    return np.zeros((batch, 8), np.float32)


def test_every_stage_agrees_with_pytorch(weights):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    model = oracle.from_name("efficientnet-lite0").eval()
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    pixels = np.random.default_rng(0).normal(size=(2, 96, 96, 3)).astype(np.float32)
    params = jax.tree.map(jnp.asarray, efficientnet.fold(weights, 7))
    ours, outputs = efficientnet.run_stem(params, jnp.asarray(pixels)), []
    with torch.no_grad():
        theirs = torch.tensor(pixels).permute(0, 3, 1, 2)
        theirs = model._swish(model._bn0(model._conv_stem(theirs)))
        for block in model._blocks:
            theirs = block(theirs)
            outputs.append(theirs.permute(0, 2, 3, 1).numpy())
    for stage, block in enumerate(LAST_BLOCKS, start=1):
        ours = efficientnet.run_stages(params, ours, [stage])
        largest = np.abs(outputs[block]).max()
        np.testing.assert_allclose(ours, outputs[block], atol=1e-4 * largest, rtol=0)


def test_pixels_are_block_means_or_antialiased(backbone):
    images = pictures(1)
    from rfsq_jax.backbones.small.backbone import _pixels

    halved = np.asarray(_pixels(images, 128)) * 128 + 127
    expected = images.reshape(2, 128, 2, 128, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(halved, expected, atol=1e-3)


def test_resizing_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    from rfsq_jax.backbones.small.backbone import _pixels

    images = pictures(1)
    ours = np.asarray(_pixels(images, 224)) * 128 + 127
    flat = torch.tensor(images[0]).permute(0, 3, 1, 2).float()
    theirs = torch.nn.functional.interpolate(flat, 224, mode="bilinear", antialias=True)
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-2)


@pytest.mark.parametrize(
    "config", [SmallConfig(), SmallConfig(resolution=96, early_stage=2, final_stage=7, grid=3)]
)
def test_features_have_the_shapes_that_the_spec_promises(config):
    small = SmallBackbone(config)
    assert isinstance(small, Backbone)
    for name, depth in small.spec.depths.items():
        features = small.embed(pictures(1), ["do it"], states(1), name)
        assert features.shape == (1, depth.tokens, depth.width)
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
    inputs = backbone.prepare(pictures(), ["a", "b"], states())
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
    monkeypatch.setattr(weights_module, "PACKAGE", "no_such_package")
    with pytest.raises(WeightsMissingError, match=r"rfsq-jax\[small\]"):
        SmallBackbone()


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(ValueError, match=r"_conv_stem\.weight, which the weights lack"):
        efficientnet.fold({}, 3)
    other = {**weights, "_bn0.weight": np.zeros(7, np.float32)}
    with pytest.raises(ValueError, match=r"_bn0\.weight must have shape \(32,\), got \(7,\)"):
        efficientnet.fold(other, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 100}, "resolution must be a positive multiple of 32"),
        ({"early_stage": 5}, "early_stage, final_stage must be ascending"),
        ({"final_stage": 8}, "early_stage, final_stage must be ascending"),
        ({"grid": 3}, "grid must be a divisor of the 16 cells of stage 3"),
    ],
)
def test_configs_validate_themselves(options, message):
    with pytest.raises(ValueError, match=message):
        SmallConfig(**options)


@pytest.mark.parametrize(
    ("images", "words", "state", "error", "message"),
    [
        (
            pictures().astype(np.float32),
            ["a", "b"],
            states(),
            TypeError,
            "uint8 array, got float32",
        ),
        (pictures()[0], ["a", "b"], states(), ValueError, r"\[B, 2, H, W, 3\], got \(2, 256"),
        (pictures()[:, :1], ["a", "b"], states(), ValueError, r"\[B, 2, H, W, 3\]"),
        (pictures()[..., :1], ["a", "b"], states(), ValueError, r"\[B, 2, H, W, 3\]"),
        (pictures()[:0], [], states(0), ValueError, r"\[B, 2, H, W, 3\]"),
        (pictures(), "ab", states(), TypeError, "sequence of strings"),
        (pictures(), ["a", 3], states(), TypeError, "sequence of strings"),
        (pictures(), ["a"], states(), ValueError, "must be 2, one per sample, got 1"),
        (pictures(), ["a", " \t"], states(), ValueError, "instruction 1 must not be empty"),
        (pictures(), ["a" * 513, "b"], states(), ValueError, "at most 512 characters, got 513"),
        (pictures(), ["a", "b"], np.zeros((2, 8), np.int32), TypeError, "float array, got int32"),
        (pictures(), ["a", "b"], states(3), ValueError, r"shape \[2, 8\], got \(3, 8\)"),
        (pictures(), ["a", "b"], states() * np.nan, ValueError, "finite, got .* in sample 0"),
    ],
)
def test_bad_inputs_are_named(backbone, images, words, state, error, message, unchecked_types):
    with pytest.raises(error, match=message):
        backbone.embed(images, words, state)
