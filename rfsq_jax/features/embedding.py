"""Images of an episode -> their features at both depths, in blocks of one size.

Axes: M frames · C cameras · H, W image · S feature tokens · E width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.backbones.protocol import DEPTHS, EARLY, FINAL, Backbone
from rfsq_jax.data.observations import Observations
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.frames import EpisodeFrames
from rfsq_jax.features.shards import DTYPES
from rfsq_jax.parallel.batching import pad_rows

Images = UInt8[np.ndarray, "m c h w 3"]
Features = dict[str, Float[np.ndarray, "m _ _"]]


def make_embedder(
    run: FeaturesRun, backbone: Backbone
) -> Callable[[Images, EpisodeFrames], Features]:
    """Returns a function, safe to call from threads, that gives features in `run.dtype` by depth.

    It raises a ValueError if a feature is NaN, or too great for the dtype.
    """
    dtype = DTYPES[run.dtype]

    @jax.jit
    def both(params: Any, inputs: Any) -> dict[str, jax.Array]:
        early, carry = backbone.early(params, inputs)
        return {EARLY: early.astype(dtype), FINAL: backbone.late(params, carry).astype(dtype)}

    def embed(images: Images, chosen: EpisodeFrames) -> Features:
        blocks = []
        for start in range(0, len(images), run.batch_size):
            rows = np.arange(start, min(start + run.batch_size, len(images)))
            padded = pad_rows(rows, run.batch_size)
            sentences = [chosen.source.instruction] * run.batch_size
            seen = Observations(images[padded], sentences, chosen.state[padded])
            inputs = backbone.prepare(seen)
            blocks.append((both(backbone.params, inputs), len(rows)))
        features = {
            depth: np.concatenate([np.asarray(block[depth])[:size] for block, size in blocks])
            for depth in DEPTHS
        }
        for depth, values in features.items():
            _require_finite(values, depth, run.dtype)
        return features

    return embed


def _require_finite(values: Float[np.ndarray, "m s e"], depth: str, dtype: str) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        got = values[tuple(bad[0])]
        advice = "; bfloat16 holds greater values" if np.isinf(got) and dtype == "float16" else ""
        raise ValueError(f"{depth} features must be finite in {dtype}, got {got}{advice}")
