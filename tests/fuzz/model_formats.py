"""Tokenizers, policies, features and checkpoints: what this library trains."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rfsq_jax.backbones.protocol import DEPTHS
from rfsq_jax.features.shards import check_shard, open_features, read_columns
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.policies.files import describe, load_policy, save_policy
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.ordered import shared_network
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.tokenizers.ordered.shared_files import load_folder, save_folder
from rfsq_jax.training.checkpoints import Checkpoints
from tests.fuzz.registry import Format
from tests.support import ordered
from tests.support.fakes import SPEC
from tests.support.feature_store import SPEC as STORE_SPEC
from tests.support.feature_store import make_store
from tests.support.policies import untrained_parts
from tests.support.tokenizers import untrained_tokenizer

SMALL = TrunkConfig(width=8, num_heads=1, num_blocks=1)
METRIC = "error"
INTACT = "Loads as it was saved, or is refused with the file's name: a hash covers all of it."


def _chunks(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (48, 4, 7)).astype(np.float32)


@functools.cache
def _tokenizer(kind: str, seed: int) -> ActionTokenizer:
    chunks = _chunks(seed)
    step = untrained_tokenizer(chunks)
    if kind == "bins":
        return BinTokenizer(step.space, 16)
    if kind == "ordered":
        return ordered.untrained(chunks)
    if kind == "fast":
        return FastTokenizer.fit_chunks(step.space, chunks, scale=1.0, vocab_size=24)
    return step


def _tokenizer_content(tokenizer: ActionTokenizer) -> list[Any]:
    space = tokenizer.space.to_dict()
    return [tokenizer.kind, space, tokenizer.config_dict(), tokenizer.arrays()]


def _tokenizer_format(kind: str) -> Format:
    return Format(
        name=f"tokenizer-{kind}",
        make=lambda folder, seed: _tokenizer(kind, seed).save_pretrained(folder / "tokenizer"),
        load=lambda folder: _tokenizer_content(
            ActionTokenizer.from_pretrained(folder / "tokenizer")
        ),
        covered="*",
        promise=INTACT,
    )


def _make_shared(folder: Path, seed: int) -> None:
    config = SharedConfig(hidden_dim=2, num_blocks=1)
    params = shared_network.init(config, jax.random.key(seed))
    save_folder(folder / "shared", config, shared_network.frozen(params))


def _policy_format(kind: str, config: HeadsConfig) -> Format:
    def make(folder: Path, seed: int) -> None:
        tokenizer = _tokenizer("step", seed)
        parts = untrained_parts(SPEC, config, tokenizer, seed=seed, threshold=-0.5 - seed)
        save_policy(folder / "policy", parts)

    def load(folder: Path) -> list[Any]:
        parts = load_policy(folder / "policy")
        tokenizer = None if parts.tokenizer is None else _tokenizer_content(parts.tokenizer)
        return [describe(parts), parts.params, parts.space.to_dict(), tokenizer]

    return Format(name=f"policy-{kind}", make=make, load=load, covered="*", promise=INTACT)


def _make_features(folder: Path, seed: int) -> None:
    make_store(folder / "features", _tokenizer("bins", seed), _chunks(seed)[:4], 20 + seed, 4)


def _load_features(folder: Path) -> list[Any]:
    store = FeatureStore.open(folder / "features", verify=True)
    rows = store.rows("all")
    columns = (store.state, store.actions, store.episode, store.frame, store.held_out)
    features = [store.gather(depth, rows) for depth in DEPTHS]
    return [store.manifest.to_dict(), *columns, store.instruction, *features]


def _load_shard(folder: Path) -> list[Any]:
    shard = folder / "features" / "shard-00000"
    description = check_shard(shard, contents=True)
    features = [open_features(shard, name, STORE_SPEC.depths[name], "float16") for name in DEPTHS]
    return [description.frames, read_columns(shard), *features]


def _state(seed: int) -> Any:
    kernel = np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
    return jax.device_put({"params": {"kernel": kernel}, "step": jnp.int32(seed)})


def _make_checkpoints(folder: Path, seed: int) -> None:
    with Checkpoints(folder / "checkpoints", METRIC) as checkpoints:
        for step, error in enumerate([1.0 + seed, 0.25 + seed, 0.5 + seed]):
            checkpoints.save(step, _state(3 * seed + step), {METRIC: error})


def _load_checkpoints(folder: Path) -> list[Any]:
    with Checkpoints(folder / "checkpoints", METRIC) as checkpoints:
        latest, best = checkpoints.latest_step, checkpoints.best_step
        steps = [step for step in (latest, best) if step is not None]
        return [latest, best, [checkpoints.restore(step, _state(0)) for step in steps]]


FORMATS = (
    *map(_tokenizer_format, ("step", "ordered", "bins", "fast")),
    Format(
        name="shared-network",
        make=_make_shared,
        load=lambda folder: list(load_folder(folder / "shared")),
        covered="*",
        promise=INTACT,
    ),
    _policy_format("tokens", HeadsConfig(main=SMALL, draft=SMALL)),
    _policy_format("bins", HeadsConfig(main=SMALL, draft=None, kind="bins")),
    _policy_format("regression", HeadsConfig(main=SMALL, draft=None, kind="regression")),
    Format(
        name="features",
        make=_make_features,
        load=_load_features,
        covered="*",
        promise=INTACT,
    ),
    Format(
        name="features-shard",
        make=_make_features,
        load=_load_shard,
        covered="*/shard-00000/*",
        promise="Every file of a shard is checked against shard.json before it is used.",
    ),
    Format(
        name="checkpoints",
        make=_make_checkpoints,
        load=_load_checkpoints,
        covered="*",
        promise="Training resumes from the state that was saved, or says which step is damaged.",
    ),
)
