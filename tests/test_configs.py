"""Every config takes what its fields declare, within sensible bounds, and names what it refuses."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path
from typing import Any

import pytest

from eval import (
    compare,
    decoding,
    failures,
    heads,
    libero_pair,
    libero_speed,
    openvla_memory,
    openvla_speed,
    openvla_topologies,
    scaling,
    speed,
)
from eval.studies.position_probe import ProbeConfig
from eval.studies.report_card.config import TokenizersConfig
from rfsq_jax.backbones.openvla.options import OpenVLAOptions
from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.backbones.small import SmallConfig
from rfsq_jax.data.action_spec import ActionGroup
from rfsq_jax.evaluation.protocol import EpisodeRules, EvaluationProtocol
from rfsq_jax.evaluation.settings import LiberoOptions, LiberoSettings
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.reference import ReferenceConfig
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.bins import BinConfig
from rfsq_jax.tokenizers.fast_config import FastConfig, FastOptions
from rfsq_jax.tokenizers.ordered.record import OrderedConfig
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.training.autoencoder.training import AutoencoderRun, LossConfig, TrainingConfig
from rfsq_jax.training.heads.distillation import DraftTraining
from rfsq_jax.training.heads.objective import HeadsLoss
from rfsq_jax.training.heads.training import AveragedTraining, HeadsTraining, PolicyRun
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.ordered.objective import Objective
from rfsq_jax.training.ordered.run import OrderedRun
from rfsq_jax.training.ordered.shared_training import SharedTrainingConfig
from rfsq_jax.training.ordered.training import OrderedTrainingConfig
from rfsq_jax.training.state import OptimizerConfig
from train.demos import DemosConfig
from train.draft import DraftRun
from train.shared import SharedRun

DEPTH = Depth(tokens=3, width=4, image_tokens=2)
HERE = Path()
FAST = FastConfig(scale=10.0, clip_coefficients=False, coefficient_range=(-1, 1), mean_tokens=2.0)
CODES = CodeShape(horizon=2, dim=3, num_layers=4, num_levels=5)
CONFIGS: tuple[Any, ...] = (
    ActionGroup("joint"),
    AutoencoderConfig(),
    AutoencoderRun(),
    AveragedTraining(),
    BinConfig(2),
    CODES,
    DEPTH,
    DemosConfig(),
    DraftRun(),
    DraftTraining(),
    EpisodeRules(),
    EvaluationProtocol(execute=1),
    FAST,
    FastOptions(10.0, False),
    FeaturesRun(),
    HeadsConfig(),
    HeadsLoss(),
    HeadsShape(DEPTH, DEPTH, horizon=2, action_dim=3),
    HeadsTraining(),
    LiberoOptions(),
    LiberoSettings(),
    LoopConfig(),
    LossConfig(),
    Objective(),
    OpenVLAOptions(),
    OptimizerConfig(),
    OrderedConfig(5, (2,), (0,), 0.1, SharedConfig()),
    OrderedRun(),
    OrderedTrainingConfig(),
    PolicyRun(),
    ProbeConfig(),
    ReferenceConfig(),
    RFSQConfig(),
    SharedConfig(),
    SharedRun(),
    SharedTrainingConfig(),
    SmallConfig(),
    TokenizersConfig(),
    TrainingConfig(),
    TrunkConfig(),
    compare.CompareConfig(),
    decoding.DecodingConfig(),
    failures.FailuresConfig(HERE),
    heads.HeadsComparison(),
    libero_pair.PairConfig(HERE, HERE),
    libero_speed.SpeedConfig(),
    openvla_memory.MemoryConfig(),
    openvla_speed.OpenVLASpeedConfig(),
    openvla_topologies.TopologiesConfig(),
    scaling.ScalingConfig(),
    speed.SpeedConfig(),
)
WRONG = {
    int: (1.5, True, "3"),
    float: (math.inf, math.nan, "x", True),
    bool: ("yes", 1),
    str: (3,),
    Path: (3,),
}


def name_of(config: Any) -> str:
    return type(config).__qualname__


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_no_field_takes_another_type(config, unchecked_types):
    tried = 0
    for name, hint in typing.get_type_hints(type(config)).items():
        declared = [kind for kind in WRONG if kind in (hint, *typing.get_args(hint))]
        if len(declared) != 1 or typing.get_origin(hint) in (tuple, dict):
            continue
        for value in WRONG[declared[0]]:
            with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value!r}"):
                dataclasses.replace(config, **{name: value})
            tried += 1
    assert tried or isinstance(config, ConfigOfParts)


ConfigOfParts = (HeadsTraining,)
"""Configs whose own fields are other configs."""


@pytest.mark.parametrize(
    ("config", "field", "value", "message"),
    [
        (RFSQConfig(), "dim", 2**16 + 1, "at most 65536"),
        (RFSQConfig(), "num_layers", 1025, "at most 1024"),
        (RFSQConfig(), "spread", 0.0, "above 0"),
        (RFSQConfig(), "num_directions", 7, "at most 6"),
        (AutoencoderConfig(), "rfsq", RFSQConfig(conditioning="conditional"), "one of none, scale"),
        (OrderedRun(), "held_out", 0.0, r"in \(0, 1\)"),
        (OrderedRun(), "suites", (), "at least one"),
        (Objective(), "discount", -0.1, r"in \[0, 1\]"),
        (LoopConfig(), "patience", 0, "at least 1"),
        (AutoencoderConfig(), "hidden_dim", 10**9, "at most 65536"),
        (AutoencoderRun(), "held_out", 1.0, r"in \(0, 1\)"),
        (AutoencoderRun(), "horizon", -1, "at least 1"),
        (AutoencoderRun(), "horizon", 10**9, "at most 65536"),
        (AutoencoderRun(), "suites", (), "at least one"),
        (AutoencoderRun(), "against", "robust", "one of none, scale, layernorm"),
        (ActionGroup("other"), "size", 10**9, "at most 65536"),
        (CODES, "horizon", 10**9, "at most 65536"),
        (CODES, "num_levels", 1, "at least 2"),
        (TrunkConfig(), "num_blocks", 10**6, "at most 1024"),
        (TrunkConfig(), "dtype", "float16", "one of float32, bfloat16"),
        (HeadsConfig(), "num_bins", 10**9, "at most 65536"),
        (HeadsShape(DEPTH, DEPTH, 2, 3), "horizon", 0, "at least 1"),
        (HeadsShape(DEPTH, DEPTH, 2, 3, CODES), "horizon", 3, "tokens must be of 3 steps"),
        (DEPTH, "image_tokens", 4, "at most 3"),
        (DEPTH, "tokens", 10**9, "at most 65536"),
        (FAST, "coefficient_range", (1, 0), "ascending"),
        (FAST, "coefficient_range", (0, 10**6), "of at most 55296 coefficients"),
        (FAST, "mean_tokens", 0.0, "above 0"),
        (OptimizerConfig(), "final_fraction", 1.5, r"in \[0, 1\]"),
        (OptimizerConfig(), "warmup_steps", -1, "0 or more"),
        (OptimizerConfig(), "weight_decay", -0.1, "0 or more"),
        (LoopConfig(), "seed", -1, "at least 0"),
        (LoopConfig(), "seed", 2**32, "at most 4294967295"),
        (FeaturesRun(), "seed", -1, "at least 0"),
        (EpisodeRules(), "seed", 2**32, "at most 4294967295"),
        (LiberoSettings(), "batch", 0, "at least 1"),
        (DemosConfig(), "seed", -1, "at least 0"),
        (SmallConfig(), "resolution", 2**20, "at most 4096"),
        (OpenVLAOptions(), "early_layer", 0, "at least 1"),
        (TokenizersConfig(), "held_out", 0.0, r"in \(0, 1\)"),
        (TokenizersConfig(), "fast_scales", (1.0, 0.0), "above 0"),
        (ProbeConfig(), "placement_margin", -1.0, "at least 0"),
    ],
)
def test_bounds(config, field, value, message, unchecked_types):
    with pytest.raises(ValueError, match=f"must be {message}|^{message}"):
        dataclasses.replace(config, **{field: value})
