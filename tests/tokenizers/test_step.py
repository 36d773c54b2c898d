"""ActionTokenizer: numpy in and out, units of the robot, files."""

import dataclasses
import errno
import json
import pickle

import jax
import numpy as np
import pytest

from rfsq_jax import ActionTokenizer
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.parallel.batching import BLOCK
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.runs import weight_files
from rfsq_jax.runs.weight_files import WEIGHTS
from rfsq_jax.tokenizers import autoencoder, files
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.autoencoder.training import TrainingConfig, freeze
from rfsq_jax.training.loop import LoopConfig
from tests.support.descriptions import change

pytestmark = pytest.mark.numerics


@pytest.fixture(scope="module")
def tokenizer(chunks):
    """An untrained tokenizer, calibrated: every law but accuracy holds for it."""
    config = AutoencoderConfig()
    space = ActionSpace.fit(chunks)
    params, state = autoencoder.init(config, jax.random.key(0))
    state = freeze(config, params, state, space.normalization.normalize(chunks))
    return StepTokenizer(config, params, state, space)


def test_shapes_and_sizes(tokenizer, chunks):
    tokens = tokenizer.encode(chunks[:5])
    assert tokens.shape == (5, 8, 16, 8)
    assert tokens.dtype == np.int32
    actions = tokenizer.decode(tokens)
    assert actions.shape == (5, 8, 7)
    assert actions.dtype == np.float32
    assert (tokenizer.vocab_size, tokenizer.tokens_per_chunk) == (7, 1024)
    assert tokenizer.bits_per_chunk == pytest.approx(2874.7, abs=0.1)


def test_one_chunk_is_a_batch_without_its_axis(tokenizer, chunks):
    tokens = tokenizer.encode(chunks[0])
    assert tokens.shape == (8, 16, 8)
    np.testing.assert_array_equal(tokens, tokenizer.encode(chunks[:1])[0])
    np.testing.assert_array_equal(tokenizer.decode(tokens), tokenizer.decode(tokens[None])[0])


@pytest.mark.parametrize("count", [1, 3, 100, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_tokens_do_not_depend_on_the_batch(tokenizer, chunks, count):
    many = np.resize(chunks, (count, 8, 7))
    tokens = tokenizer.encode(many)
    for index in {0, count // 2, count - 1}:
        np.testing.assert_array_equal(tokens[index], tokenizer.encode(many[index]))
    assert len(tokenizer.decode(tokens)) == count


def test_tokens_decode_to_exactly_the_forward_values(tokenizer, chunks):
    normalization, parts = tokenizer.normalization, (tokenizer.params, tokenizer.state)
    values = normalization.normalize(chunks)
    forward = np.asarray(autoencoder.forward(tokenizer.config, *parts, values))
    decoded = tokenizer.decode(tokenizer.encode(chunks))
    np.testing.assert_array_equal(normalization.denormalize(forward), decoded)


def test_every_prefix_decodes(tokenizer, chunks):
    tokens = tokenizer.encode(chunks[:4])
    for layers in range(1, 9):
        prefix = tokenizer.decode(tokens, num_layers=layers)
        np.testing.assert_array_equal(prefix, tokenizer.decode(tokens[..., :layers]))


def test_flat_ids_round_trip_and_can_be_cut_after_a_layer(tokenizer, chunks):
    ids = tokenizer(chunks[:3])
    assert [len(chunk) for chunk in ids] == [1024] * 3
    assert all(isinstance(token, int) for token in ids[0])
    tokens = tokenizer.encode(chunks[:3])
    np.testing.assert_array_equal(tokenizer.decode(ids), tokenizer.decode(tokens))
    cut = [chunk[: 2 * 8 * 16] for chunk in ids]
    np.testing.assert_array_equal(tokenizer.decode(cut), tokenizer.decode(tokens, num_layers=2))
    with pytest.raises(ValueError, match="multiple of 128 ids, got lengths \\[1000\\]"):
        tokenizer.decode([chunk[:1000] for chunk in ids])


def test_fit_makes_the_error_small(chunks, one_device):
    loop = LoopConfig(steps=2000, steps_per_call=500, evaluate_every=2000)
    tokenizer = ActionTokenizer.fit(chunks, training=TrainingConfig(loop=loop))
    error = tokenizer.decode(tokenizer.encode(chunks)) - chunks
    assert np.mean(error**2) < 0.01 * np.var(chunks)


@pytest.mark.parametrize("conditioning", ["none", "scale", "layernorm"])
def test_saved_and_loaded_it_is_the_same(tmp_path, chunks, conditioning):
    config = AutoencoderConfig(rfsq=RFSQConfig(conditioning=conditioning))
    params, state = autoencoder.init(config, jax.random.key(1))
    first = StepTokenizer(config, params, state, ActionSpace.fit(chunks[:, :4]))
    first.save_pretrained(tmp_path / "it")
    second = StepTokenizer.from_pretrained(tmp_path / "it")
    assert second.config == config
    assert second.horizon == 4
    tokens = first.encode(chunks[:, :4])
    np.testing.assert_array_equal(second.encode(chunks[:, :4]), tokens)
    np.testing.assert_array_equal(second.decode(tokens), first.decode(tokens))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((2, 8, 6)), r"\[B, 8, 7\] or \[8, 7\], got \(2, 8, 6\)"),
        (np.zeros((2, 7, 7)), r"got \(2, 7, 7\)"),
        (np.zeros(7), r"got \(7,\)"),
        (np.full((8, 7), np.nan), "finite"),
        (np.full((8, 7), np.inf), "finite"),
    ],
)
def test_bad_actions_are_refused(tokenizer, actions, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(actions)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (np.full((8, 16, 8), 7), ValueError, r"in \[0, 7\), got 7 to 7"),
        (np.full((8, 16, 8), -1), ValueError, r"in \[0, 7\), got -1 to -1"),
        (np.zeros((8, 16, 9), int), ValueError, "shape"),
        (np.zeros((7, 16, 8), int), ValueError, r"\[B, 8, D, L\]"),
        (np.zeros((8, 16, 8)), TypeError, "integers"),
    ],
)
def test_bad_tokens_are_refused(tokenizer, tokens, error, message):
    with pytest.raises(error, match=message):
        tokenizer.decode(tokens)


def test_an_unknown_name_lists_what_is_bundled():
    with pytest.raises(FileNotFoundError, match=r"'robot'.*libero"):
        ActionTokenizer.from_pretrained("robot")


def test_a_newer_format_says_so(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "it")
    path = tmp_path / "it" / files.FOLDERS.description
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | {"format_version": 99}))
    with pytest.raises(ValueError, match=r"format version 99.*update rfsq_jax"):
        ActionTokenizer.from_pretrained(tmp_path / "it")


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "pickle"])
def test_damaged_weights_are_named(tokenizer, tmp_path, damage):
    tokenizer.save_pretrained(tmp_path / "it")
    path = tmp_path / "it" / WEIGHTS
    content = path.read_bytes()
    replacement = {
        "cut": content[: len(content) // 2],
        "changed": content[:500] + bytes([content[500] ^ 1]) + content[501:],
        "pickle": pickle.dumps({"params": 1}),
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(replacement[damage])
    with pytest.raises(ValueError, match=WEIGHTS):
        ActionTokenizer.from_pretrained(tmp_path / "it")


def test_damaged_description_is_named(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "it")
    (tmp_path / "it" / files.FOLDERS.description).write_text('{"format_version": 1, ')
    with pytest.raises(ValueError, match=files.FOLDERS.description):
        ActionTokenizer.from_pretrained(tmp_path / "it")


def test_weights_of_another_config_are_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "it")
    path = tmp_path / "it" / files.FOLDERS.description
    change(path, config={**json.loads(path.read_text())["config"], "hidden_dim": 32})
    with pytest.raises(ValueError, match=r"does not fit its config: params/.* expected shape"):
        ActionTokenizer.from_pretrained(tmp_path / "it")


def test_a_full_disk_leaves_the_old_tokenizer(tokenizer, tmp_path, monkeypatch):
    target = tmp_path / "it"
    tokenizer.save_pretrained(target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(weight_files, "write_sealed", full)
    with pytest.raises(OSError, match="No space left"):
        tokenizer.save_pretrained(target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_the_version_names_the_tokenizer(tmp_path):
    tokenizer = StepTokenizer.from_pretrained("libero")
    tokenizer.save_pretrained(tmp_path / "copy")
    assert ActionTokenizer.from_pretrained(tmp_path / "copy").version == tokenizer.version
    params, state, space = tokenizer.params, tokenizer.state, tokenizer.space
    moved = jax.tree.map(lambda leaf: leaf + 1e-6, params)
    for parts in (
        (moved, state, space),
        (params, state._replace(mean=state.mean + 1), space),
        (params, state, dataclasses.replace(space, horizon=4)),
    ):
        assert StepTokenizer(tokenizer.config, *parts).version != tokenizer.version
