"""A folder of features whose chunks can be learned, without a backbone or a simulator."""

from pathlib import Path

import numpy as np

from rfsq_jax.backbones.protocol import EARLY, FINAL, BackboneSpec, Depth
from rfsq_jax.features.manifest import Manifest, ShardEntry, write_manifest
from rfsq_jax.features.shards import shard_hash, write_shard
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.tokenizers import ActionTokenizer

SPEC = BackboneSpec(
    name="fake",
    version="0123456789abcdef",
    cameras=2,
    image_size=8,
    preprocessing="none",
    depths={EARLY: Depth(5, 6, 4), FINAL: Depth(7, 8, 6)},
)


def make_store(
    folder: Path,
    tokenizer: ActionTokenizer,
    chunks: np.ndarray,
    count: int,
    held_out: int,
    spec: BackboneSpec = SPEC,
) -> FeatureStore:
    """Features whose image tokens show which of a few chunks follows; the rest shows nothing."""
    rng = np.random.default_rng(0)
    features = {}
    for name, depth in spec.depths.items():
        codes = rng.normal(size=(len(chunks), depth.tokens, depth.width))
        noise = 0.1 * rng.normal(size=(count, depth.tokens, depth.width))
        codes[:, depth.image_tokens :] = codes[0, depth.image_tokens :]
        features[name] = (codes[np.arange(count) % len(chunks)] + noise).astype(np.float16)
    columns = {
        "state": rng.normal(size=(count, 8)).astype(np.float32),
        "actions": chunks[np.arange(count) % len(chunks)].astype(np.float32),
        "frame": np.arange(count, dtype=np.int32),
        "episode": (np.arange(count) // 16).astype(np.int32),
        "held_out": np.arange(count) >= count - held_out,
        "instruction": np.zeros(count, np.int32),
    }
    shard = folder / "shard-00000"
    write_shard(shard, features, columns)
    manifest = Manifest(
        backbone=spec.name,
        version=spec.version,
        depths=spec.depths,
        action_statistics=tokenizer.normalization,
        dtype="float16",
        instructions=("do it",),
        shards=(ShardEntry(shard.name, shard_hash(shard)),),
    )
    write_manifest(folder, manifest)
    return FeatureStore.open(folder)
