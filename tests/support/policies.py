"""Untrained policies of any kind of heads."""

from typing import Any

import jax
import numpy as np

from rfsq_jax.backbones.protocol import BackboneSpec
from rfsq_jax.heads import proprio
from rfsq_jax.heads.config import CodeShape, HeadsConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.policies.files import PolicyParts
from rfsq_jax.tokenizers import ActionTokenizer
from tests.support.heads import init


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
