"""Untrained policies of any kind of heads."""

import functools
from typing import Any

import jax
import numpy as np

from rfsq_jax.backbones.protocol import BackboneSpec
from rfsq_jax.data.observations import Observations
from rfsq_jax.heads import proprio
from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.step import StepTokenizer
from tests.support.fakes import SPEC
from tests.support.heads import init
from tests.support.tokenizers import untrained_tokenizer


def untrained_parts(
    spec: BackboneSpec,
    config: HeadsConfig,
    tokenizer: ActionTokenizer,
    state: np.ndarray | None = None,
    seed: int = 1,
    **others: Any,
) -> PolicyParts:
    """Fresh heads on a backbone; of `tokenizer` heads of actions take the action space alone."""
    predicts_tokens = config.kind == "tokens"
    codes = CodeShape.of(tokenizer) if predicts_tokens else None
    shape = HeadsShape.of(spec, tokenizer.space, codes)
    unit = ProprioStatistics(np.zeros(8, np.float32), np.ones(8, np.float32))
    return PolicyParts(
        backbone=spec.name,
        backbone_version=spec.version,
        config=config,
        shape=shape,
        params=init(config, shape, jax.random.key(seed)),
        statistics=unit if state is None else proprio.fit(state),
        space=tokenizer.space,
        tokenizer=tokenizer if predicts_tokens else None,
        **others,
    )


SMALL = TrunkConfig(width=16, num_heads=2, num_blocks=1)


@functools.cache
def tokenizer() -> StepTokenizer:
    rng = np.random.default_rng(0)
    return untrained_tokenizer(rng.uniform(-1, 1, (64, 8, 7)).astype(np.float32))


def make_parts(config: HeadsConfig | None = None, threshold: float | None = -1.0):
    config = HeadsConfig(main=SMALL, draft=SMALL) if config is None else config
    return untrained_parts(SPEC, config, tokenizer(), threshold=threshold)


def observe(batch=3, seed=0):
    rng = np.random.default_rng(seed)
    return Observations(
        images=rng.integers(0, 256, (batch, 2, 8, 8, 3), dtype=np.uint8),
        instructions=[f"task {'x' * (10 * row)}" for row in range(batch)],
        state=rng.normal(size=(batch, 8)).astype(np.float32),
    )
