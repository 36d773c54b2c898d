"""A whole checkpoint's folder, tiny: random weights, statistics, and a tokenizer of a few words."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from rfsq_jax.backbones.openvla import config as sizes
from rfsq_jax.backbones.openvla.config import OFTConfig, OpenVLAConfig
from rfsq_jax.backbones.openvla.layout import Leaf, parameter_table
from rfsq_jax.backbones.openvla.statistics import FILE
from tests.support.openvla_folders import write_folder

# With rows for the tokenizer's ids, which a whole policy looks up.
TINY = dataclasses.replace(
    sizes.TINY, llama=dataclasses.replace(sizes.TINY.llama, vocabulary=32064)
)
TINY_OFT = dataclasses.replace(TINY, oft=OFTConfig())
STATISTICS = {
    "action": {
        "q01": [-0.75, -0.66, -0.94, -0.11, -0.21, -0.18, 0.0],
        "q99": [0.94, 0.88, 0.93, 0.1, 0.18, 0.15, 1.0],
        "mask": [True] * 6 + [False],
    },
    "proprio": {"q01": [-0.5] * 8, "q99": [1.5] * 8},
}
WORDS = "<unk> in : what action should the robot take to ? out pick up put it here there bowl plate"


def write_checkpoint(
    folder: Path,
    config: OpenVLAConfig,
    seed: int = 0,
    sets: tuple[str, ...] = ("libero_spatial_no_noops",),
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    files: dict[str, dict[str, np.ndarray]] = {}
    for path, leaf in parameter_table(config).items():
        for key in leaf.keys:
            files.setdefault(leaf.file, {})[key] = draw(rng, path, leaf)
    write_folder(folder, files, config=config)
    (folder / FILE).write_text(json.dumps(dict.fromkeys(sets, STATISTICS)))
    vocabulary = {word: 100 + place for place, word in enumerate(WORDS.split())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def draw(rng: np.random.Generator, path: str, leaf: Leaf) -> np.ndarray:
    """Numbers that keep activations near one and hide nothing."""
    noise = rng.normal(size=leaf.torch_shape).astype(np.float32)
    if path.endswith("/kernel"):
        return noise / np.float32(math.sqrt(leaf.single[0]))
    return noise * np.float32(0.2) + (1 if path.endswith("/scale") else 0)
