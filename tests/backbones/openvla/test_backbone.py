"""OpenVLA as a backbone: features are what the model's functions say, early and late are one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

pytest.importorskip("torch")
pytest.importorskip("simplejpeg")

from rfsq_jax.backbones import get_backbone
from rfsq_jax.backbones.openvla import images as pictures
from rfsq_jax.backbones.openvla import model, prompts
from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import OFTConfig
from rfsq_jax.backbones.openvla.layout import unstacked
from rfsq_jax.backbones.openvla.statistics import FILE, read_statistics
from rfsq_jax.backbones.protocol import EARLY, FINAL, Backbone
from rfsq_jax.data.observations import Observations
from rfsq_jax.heads.config import TrunkConfig
from rfsq_jax.heads.trunk import Trunk
from tests.support.images import pictures as noise
from tests.support.openvla_checkpoints import STATISTICS, TINY, TINY_OFT, write_checkpoint

OPTIONS: dict[str, Any] = {"dtype": "float32"}
# Compiled: step by step each operation would be compiled by itself.
base_hidden = jax.jit(model.base_hidden, static_argnums=1)
oft_hidden = jax.jit(model.oft_hidden, static_argnums=1)
SENTENCES = ("Put the bowl here", "pick up it")


@pytest.fixture(scope="module")
def oft(oft_folder: Path) -> Any:
    return get_backbone("openvla-oft", path=oft_folder, **OPTIONS)


@pytest.fixture(scope="module")
def base(base_folder: Path) -> Any:
    return get_backbone("openvla", path=base_folder, **OPTIONS)


def states() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 2, (2, 8)).astype(np.float32)


def seen(batch: int = 2) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    return noise(batch, 64), SENTENCES[:batch], states()[:batch]


def prompt_of(folder: Path, sentence: str) -> list[int]:
    return prompts.prompt_ids(prompts.read_tokenizer(folder), sentence)


def test_oft_features_are_its_action_states(oft: Any, oft_folder: Path) -> None:
    """One sample at a time, without padding, by the model's own function."""
    images, sentences, state = seen()
    params = load(oft_folder, TINY_OFT, dtype=jnp.float32)[1]
    got = oft.embed(*seen())
    assert isinstance(oft, Backbone)
    assert got.shape == (2, *dataclasses.astuple(oft.spec.depths[FINAL])[:2]) == (2, 56, 32)
    normal = read_statistics(oft_folder, "libero_spatial").normalize_state(state)
    for i, sentence in enumerate(sentences):
        prompt = jnp.asarray([prompt_of(oft_folder, sentence)])
        pixels = np.stack([pictures.prepare(each, 56) for each in images[i]])[None]
        expected = oft_hidden(
            params,
            TINY_OFT,
            jnp.asarray(pixels),
            prompt,
            jnp.array([prompt.shape[1]]),
            jnp.asarray(normal[i : i + 1], jnp.float32),
        )
        np.testing.assert_allclose(got[i], expected[0], atol=2e-5)


def test_base_features_are_the_last_prompt_tokens(base: Any, base_folder: Path) -> None:
    images, sentences, _ = seen()
    params = load(base_folder, TINY, dtype=jnp.float32)[1]
    got = base.embed(*seen())
    assert got.shape == (2, 1, 32)
    assert base.spec.cameras == 1
    for i, sentence in enumerate(sentences):
        prompt = jnp.asarray([prompt_of(base_folder, sentence)])
        pixels = pictures.prepare(images[i, 0], 56)[None, None]
        hidden, _ = base_hidden(params, TINY, jnp.asarray(pixels), prompt)
        np.testing.assert_allclose(got[i, 0], hidden[0, -1], atol=2e-5)


def test_other_positions_layers_and_cameras(oft: Any, oft_folder: Path) -> None:
    options = {**OPTIONS, "features": "last", "early_layer": 2, "cameras": 1}
    other: Any = get_backbone("openvla-oft", path=oft_folder, **options)
    assert other.embed(*seen()).shape == (2, 1, 32)
    both = {**OPTIONS, "features": "last"}
    last: Any = get_backbone("openvla-oft", path=oft_folder, **both)
    np.testing.assert_array_equal(last.embed(*seen())[:, 0], oft.embed(*seen())[:, 0])
    assert len({each.spec.version for each in (oft, other, last)}) == 3


@pytest.mark.parametrize("layers", ["stacked", "listed"])
def test_early_and_late_are_the_whole(oft: Any, layers: str) -> None:
    """Bit by bit where the layers are scanned: the parts do what the whole does."""
    params = oft.params if layers == "stacked" else unstacked(oft.params, oft.config)
    inputs = oft.prepare(Observations(*seen()))

    @jax.jit
    def whole(params: Any, inputs: Any) -> jax.Array:
        pixels, prompt, lengths, state = (
            jnp.asarray(inputs[name]) for name in ("pixels", "prompt", "lengths", "state")
        )
        return model.oft_hidden(params, oft.config, pixels, prompt, lengths, state)

    early, carry = jax.jit(oft.early)(params, inputs)
    final = jax.jit(oft.late)(params, carry)
    np.testing.assert_allclose(final, whole(params, inputs), atol=2e-6)
    embedded = oft.embed(*seen(), depth=EARLY)
    if layers == "stacked":
        np.testing.assert_array_equal(early, embedded)
    np.testing.assert_allclose(early, embedded, atol=2e-6)
    assert all(len(leaf) == 2 for leaf in jax.tree.leaves(carry))
    assert np.abs(early - np.asarray(final)).max() > 0.1


def test_early_features_do_not_know_the_later_layers(oft_folder: Path, tmp_path: Path) -> None:
    changed = write_checkpoint(tmp_path, TINY_OFT)
    one: Any = get_backbone("openvla-oft", path=oft_folder, **OPTIONS)
    two: Any = get_backbone("openvla-oft", path=changed, **OPTIONS)
    layers = two.params["llm"]["layers"]
    down = layers["down"]["kernel"].at[1:].multiply(2.0)
    params = {
        **two.params,
        "llm": {**two.params["llm"], "layers": {**layers, "down": {"kernel": down}}},
    }
    inputs = one.prepare(Observations(*seen()))
    early, carry = jax.jit(one.early)(one.params, inputs)
    other, moved = jax.jit(two.early)(params, inputs)
    np.testing.assert_array_equal(early, other)
    final, changed_final = jax.jit(one.late)(one.params, carry), jax.jit(two.late)(params, moved)
    assert np.abs(final - changed_final).max() > 1e-2


def test_a_row_does_not_see_its_neighbour(oft: Any) -> None:
    images, sentences, state = seen()
    alone = oft.embed(images[:1], sentences[:1], state[:1])
    np.testing.assert_allclose(oft.embed(images, sentences, state)[0], alone[0], atol=2e-5)


def test_a_blind_backbone_sees_words_and_state_but_no_picture(oft: Any, oft_folder: Path) -> None:
    blind: Any = get_backbone("openvla-oft", path=oft_folder, blind=True, **OPTIONS)
    images, sentences, state = seen()
    told = blind.embed(images, sentences, state)
    for depth in (EARLY, FINAL):
        shown = (blind.embed(each, sentences, state, depth) for each in (images, 255 - images))
        np.testing.assert_array_equal(*shown)
    assert np.abs(told - blind.embed(images, sentences[::-1], state)).max() > 1e-2
    assert np.abs(told - blind.embed(images, sentences, state + 0.3)).max() > 1e-2
    assert np.abs(told - oft.embed(images, sentences, state)).max() > 1e-2
    assert blind.spec.version != oft.spec.version


def test_heads_cannot_be_blinded_afterwards(oft: Any) -> None:
    config = TrunkConfig(width=16, num_heads=2, blind=True)
    for depth in oft.spec.depths.values():
        with pytest.raises(ValueError, match=r"blind must be False .* its 56 tokens mixes"):
            nnx.eval_shape(lambda depth=depth: Trunk(config, depth, 8, rngs=nnx.Rngs(0)))


def test_versions_know_weights_words_and_statistics(oft: Any, tmp_path: Path) -> None:
    same: Any = get_backbone(
        "openvla-oft", path=write_checkpoint(tmp_path / "a", TINY_OFT), **OPTIONS
    )
    assert same.spec == oft.spec
    assert same.options.chips == 1
    split: Any = get_backbone("openvla-oft", path=tmp_path / "a", chips=2, **OPTIONS)
    assert split.spec == oft.spec
    folder = write_checkpoint(tmp_path / "b", TINY_OFT, seed=1)
    tuned: Any = get_backbone("openvla-oft", path=folder, **OPTIONS)
    (tmp_path / "a" / FILE).write_text(
        json.dumps({"x": {**STATISTICS, "proprio": {"q01": [-1.0] * 8, "q99": [1.5] * 8}}})
    )
    moved: Any = get_backbone("openvla-oft", path=tmp_path / "a", **OPTIONS)
    tokenizer = tmp_path / "b" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("bowl", "bowls"))
    reworded: Any = get_backbone("openvla-oft", path=tmp_path / "b", **OPTIONS)
    versions = {each.spec.version for each in (oft, tuned, moved, reworded)}
    assert len(versions) == 4
    assert all(len(each) == 16 for each in versions)


def test_one_changed_tensor_is_another_version(oft: Any, oft_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(oft_folder, tmp_path / "copy")
    shard = tmp_path / "copy" / "model-00001-of-00004.safetensors"
    raw = bytearray(shard.read_bytes())
    raw[-400:] = bytes(400)
    shard.write_bytes(raw)
    changed: Any = get_backbone("openvla-oft", path=tmp_path / "copy", **OPTIONS)
    assert changed.spec.version != oft.spec.version


def test_weights_split_over_devices_say_the_same(oft: Any, oft_folder: Path) -> None:
    split: Any = get_backbone("openvla-oft", path=oft_folder, chips=2, **OPTIONS)
    assert len(split.params["llm"]["embed"].sharding.device_set) == 2
    np.testing.assert_allclose(split.embed(*seen()), oft.embed(*seen()), atol=2e-5)


def test_replicas_share_a_batch(oft: Any, oft_folder: Path) -> None:
    shared: Any = get_backbone("openvla-oft", path=oft_folder, chips=2, replicas=2, **OPTIONS)
    images, sentences, state = seen()
    inputs = shared.prepare(Observations(images, sentences, state))
    parts = {part.data.shape[0] for part in inputs["pixels"].addressable_shards}
    assert parts == {len(sentences) // 2}
    assert len(shared.params["llm"]["embed"].sharding.device_set) == 4
    assert shared.spec == oft.spec
    np.testing.assert_allclose(shared.embed(*seen()), oft.embed(*seen()), atol=2e-5)
    with pytest.raises(ValueError, match="batch_size must be a multiple of 2"):
        shared.prepare(Observations(images[:1], sentences[:1], state[:1]))


def test_pictures_are_not_rotated(base: Any) -> None:
    images, sentences, state = seen()
    pixels = base.prepare(Observations(images, sentences, state))["pixels"]
    np.testing.assert_array_equal(pixels[1, 0], pictures.prepare(images[1, 0], 56))


def test_a_model_without_state_ignores_it(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY_OFT, oft=OFTConfig(proprio=False))
    plain: Any = get_backbone("openvla-oft", path=write_checkpoint(tmp_path, config), **OPTIONS)
    images, sentences, state = seen()
    answers = [plain.embed(images, sentences, each) for each in (state, state + 1)]
    np.testing.assert_array_equal(*answers)
