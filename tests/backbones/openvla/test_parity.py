"""The JAX model against timm and transformers, with random weights, in float32."""

import dataclasses
import functools
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")
if any(importlib.util.find_spec(each) is None for each in ("timm", "transformers")):
    pytest.skip("needs timm and transformers", allow_module_level=True)

from rfsq_jax.backbones.openvla import layout, model, vision
from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import TINY, TINY_OFT, OFTConfig, OpenVLAConfig
from rfsq_jax.backbones.openvla.layers import gelu_mlp
from tests.support.openvla_folders import write_folder
from tests.support.openvla_oracle import Oracle

pytestmark = pytest.mark.numerics

NO_PROPRIO = dataclasses.replace(TINY_OFT, oft=OFTConfig(proprio=False))
LENGTHS = (9, 4, 13)


@functools.cache
def oracle() -> Oracle:
    return Oracle()


@functools.cache
def params(config: OpenVLAConfig) -> dict[str, Any]:
    """By way of a folder as published, unused tensors and all."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), oracle().tensors())
        return load(Path(folder), config, dtype=jnp.float32)[1]


base_hidden = jax.jit(model.base_hidden, static_argnums=1, static_argnames="remat")
oft_hidden = jax.jit(model.oft_hidden, static_argnums=1)
decode = jax.jit(model.decode, static_argnums=1)


def pixels(images: int) -> np.ndarray:
    shape = (len(LENGTHS), images, 56, 56, 6)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def prompts() -> tuple[list[list[int]], np.ndarray]:
    rng = np.random.default_rng(2)
    rows = [[1, *rng.integers(3, 99, size=length - 1).tolist()] for length in LENGTHS]
    padded = np.full((len(rows), max(LENGTHS)), 100)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return rows, padded


def states() -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (len(LENGTHS), 8)).astype(np.float32)


def assert_close(got: Any, expected: np.ndarray) -> None:
    error = np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()
    assert error < 1e-5


@pytest.mark.parametrize("images", [1, 2])
def test_vision_towers_and_projector(images: int) -> None:
    seen = oracle().towers(pixels(images))
    assert_close(
        vision.see(params(TINY)["vision"], TINY, jnp.asarray(pixels(images))), seen.numpy()
    )
    expected = oracle().projector(seen).detach().numpy()
    assert_close(model.image_tokens(params(TINY), TINY, jnp.asarray(pixels(images))), expected)


@pytest.mark.parametrize("images", [1, 2])
def test_base_hidden_states(images: int) -> None:
    rows, padded = prompts()
    got, _ = base_hidden(
        params(TINY), TINY, jnp.asarray(pixels(images)), jnp.asarray(padded), remat=images == 2
    )
    for i, row in enumerate(rows):
        expected = oracle().base_hidden(pixels(images)[i : i + 1], row)[0]
        assert_close(got[i, : len(expected)], expected)


def test_greedy_tokens() -> None:
    rows, padded = prompts()
    inputs = (jnp.asarray(each) for each in (pixels(1), padded, np.array(LENGTHS)))
    got = np.asarray(decode(params(TINY), TINY, *inputs)).tolist()
    assert got == [oracle().greedy(pixels(1)[i : i + 1], row) for i, row in enumerate(rows)]
    assert len({token for tokens in got for token in tokens}) > 3


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("config", [TINY_OFT, NO_PROPRIO], ids=["proprio", "no proprio"])
def test_oft_states_and_actions(config: OpenVLAConfig, images: int) -> None:
    rows, padded = prompts()
    state = states() if config is TINY_OFT else None
    got = oft_hidden(
        params(config),
        config,
        jnp.asarray(pixels(images)),
        jnp.asarray(padded),
        jnp.array(LENGTHS),
        None if state is None else jnp.asarray(state),
    )
    chunks = model.regress(params(config)["head"], config, got)
    for i, row in enumerate(rows):
        own = None if state is None else state[i : i + 1]
        expected = oracle().oft_hidden(pixels(images)[i : i + 1], row, own)
        assert_close(got[i : i + 1], expected)
        assert_close(chunks[i : i + 1], oracle().actions(expected))


def test_head_and_proprio_projector_alone() -> None:
    hidden = np.random.default_rng(4).normal(size=(3, 56, 32)).astype(np.float32)
    assert_close(
        model.regress(params(TINY_OFT)["head"], TINY_OFT, jnp.asarray(hidden)),
        oracle().actions(hidden),
    )
    import torch

    expected = oracle().proprio(torch.from_numpy(states())).detach().numpy()
    assert_close(gelu_mlp(params(TINY_OFT)["proprio"], jnp.asarray(states())), expected)


def test_state_must_fit_the_model() -> None:
    _, padded = prompts()
    images, ids, lengths = (jnp.asarray(each) for each in (pixels(1), padded, np.array(LENGTHS)))
    state = jnp.asarray(states())
    with pytest.raises(ValueError, match="state must be given"):
        model.oft_hidden(params(TINY_OFT), TINY_OFT, images, ids, lengths)
    with pytest.raises(ValueError, match="state must be None"):
        model.oft_hidden(params(NO_PROPRIO), NO_PROPRIO, images, ids, lengths, state)
    with pytest.raises(ValueError, match=r"config\.oft must be given"):
        model.oft_hidden(params(TINY), TINY, images, ids, lengths)


def test_listed_layers_are_the_stacked_ones() -> None:
    _, padded = prompts()
    inputs = [jnp.asarray(each) for each in (pixels(1), padded, np.array(LENGTHS))]
    listed = {config: layout.unstacked(params(config), config) for config in (TINY, TINY_OFT)}
    assert jax.tree.structure(listed[TINY]) != jax.tree.structure(params(TINY))
    assert_close(
        oft_hidden(listed[TINY_OFT], TINY_OFT, *inputs, jnp.asarray(states())),
        np.asarray(oft_hidden(params(TINY_OFT), TINY_OFT, *inputs, jnp.asarray(states()))),
    )
    tokens, theirs = (decode(each, TINY, *inputs) for each in (listed[TINY], params(TINY)))
    np.testing.assert_array_equal(np.asarray(tokens), np.asarray(theirs))
