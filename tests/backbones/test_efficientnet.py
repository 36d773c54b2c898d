"""EfficientNet-Lite0, its pictures and its grids against an independent network in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.backbones.protocol import EARLY, FINAL
from rfsq_jax.backbones.small import SmallBackbone, SmallConfig, efficientnet
from rfsq_jax.backbones.small.backbone import _pixels
from rfsq_jax.backbones.small.efficientnet import weights_file
from rfsq_jax.interop.torch_files import read_state_dict
from tests.support.images import pictures, states

LAST_BLOCKS = (0, 2, 4, 7, 10, 14, 15)


@pytest.fixture(scope="module")
def weights():
    return read_state_dict(weights_file())


@pytest.fixture(scope="module")
def stages_of(weights):
    """Pixels float32 [N, H, W, 3] -> what the seven stages give, by PyTorch."""
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    model = oracle.from_name("efficientnet-lite0").eval()
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})

    def run(pixels):
        outputs = []
        with torch.no_grad():
            x = torch.tensor(pixels).permute(0, 3, 1, 2)
            x = model._swish(model._bn0(model._conv_stem(x)))
            for block in model._blocks:
                x = block(x)
                outputs.append(x.permute(0, 2, 3, 1).numpy())
        return [outputs[block] for block in LAST_BLOCKS]

    return run


def assert_near(found, expected, relative=1e-4):
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(2, 96, 96, 3), (1, 64, 160, 3)])
def test_every_stage_agrees_with_pytorch(weights, stages_of, shape):
    pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    params = jax.tree.map(jnp.asarray, efficientnet.fold(weights, 7))
    run_stem = jax.jit(efficientnet.run_stem)
    run_stages = jax.jit(efficientnet.run_stages, static_argnums=2)
    ours = run_stem(params, jnp.asarray(pixels))
    for stage, theirs in enumerate(stages_of(pixels), start=1):
        ours = run_stages(params, ours, (stage,))
        assert_near(ours, theirs)


def test_the_default_backbone_agrees_with_pytorch(stages_of):
    backbone, images = SmallBackbone(), pictures(2)
    pixels = images.reshape(4, 128, 2, 128, 2, 3).mean(axis=(2, 4), dtype=np.float32)
    theirs = stages_of((pixels - 127) / 128)
    for depth, grid in ((EARLY, theirs[2]), (FINAL, theirs[4])):
        features = np.asarray(backbone.embed(images, ["a", "b"], states(), depth))[:, :-1]
        assert_near(features, stacked_patches(grid, 8))


def stacked_patches(grid, side):
    """Grids [2 N, G, G, C] as tokens [N, 2 side side, E], patch by patch and cell by cell."""
    cells = grid.shape[1] // side
    tokens = [
        picture[row : row + cells, column : column + cells].reshape(-1)
        for picture in grid
        for row in range(0, side * cells, cells)
        for column in range(0, side * cells, cells)
    ]
    return np.stack(tokens).reshape(len(grid) // 2, 2 * side * side, -1)


def test_pictures_of_whole_multiples_are_block_means():
    images = pictures(1)
    halved = np.asarray(_pixels(images, 128)) * 128 + 127
    expected = images.reshape(2, 128, 2, 128, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(halved, expected, atol=1e-3)
    same = np.asarray(_pixels(images, 256)) * 128 + 127
    np.testing.assert_array_equal(same, images[0])


@pytest.mark.parametrize("shape", [(256, 256), (100, 100), (180, 320)])
def test_other_pictures_are_resized_as_by_pytorch(shape):
    """Its antialiased interpolation, to a hundredth of one of 255 levels."""
    torch = pytest.importorskip("torch")
    images = pictures(1, size=320)[:, :, : shape[0], : shape[1]]
    ours = np.asarray(_pixels(images, 224)) * 128 + 127
    flat = torch.tensor(images[0]).permute(0, 3, 1, 2).float()
    theirs = torch.nn.functional.interpolate(flat, (224, 224), mode="bilinear", antialias=True)
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-2)


def test_a_resized_backbone_agrees_with_pytorch(stages_of):
    torch = pytest.importorskip("torch")
    config = SmallConfig(resolution=160, early_stage=4, final_stage=7, grid=5)
    images = pictures(1, size=200)
    flat = torch.tensor(images[0]).permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(flat, (160, 160), mode="bilinear", antialias=True)
    theirs = stages_of((resized.permute(0, 2, 3, 1).numpy() - 127) / 128)
    features = np.asarray(SmallBackbone(config).embed(images, ["a"], states(1)))[:, :-1]
    assert_near(features, stacked_patches(theirs[6], 5), relative=5e-4)


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(ValueError, match=r"_conv_stem\.weight, which the weights lack"):
        efficientnet.fold({}, 3)
    other = {**weights, "_bn0.weight": np.zeros(7, np.float32)}
    with pytest.raises(ValueError, match=r"_bn0\.weight must have shape \(32,\), got \(7,\)"):
        efficientnet.fold(other, 3)
