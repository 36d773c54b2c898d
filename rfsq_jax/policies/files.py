"""A policy on disk: `policy.json`, `weights.npz` and, of token heads, `tokenizer/`; no pickle.

policy.json holds the format version, the backbone's name, version and options, the heads' config
and shape, the statistics of the state, the early-exit threshold, the hash of weights.npz and, where
there is no tokenizer, the action space. The first format had a tokenizer with every policy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.backbones.protocol import BackboneOption, Depth
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.prediction import Predictor
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.trees import Params
from rfsq_jax.runs.weight_files import WEIGHTS, WeightFolders, check_shapes
from rfsq_jax.tokenizers.protocol import ActionTokenizer

FOLDERS = WeightFolders("policy", newest=2, bundled="policies")
TOKENIZER = "tokenizer"
ESTIMATES = {"argmax": "mode", "expected": "mean"}
"""What the first format called point estimates."""


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyParts:
    """Everything of a policy but its backbone.

    Attributes:
      backbone: name of the backbone.
      backbone_version: the version that the heads were trained on.
      config: the heads.
      shape: sizes of features and of what is predicted.
      params: the heads' parameters.
      statistics: of the state.
      space: of the actions.
      tokenizer: decodes what token heads predict; None for others.
      threshold: draft confidence from which an early exit is worth it; None before calibration.
      backbone_options: the backbone's options when the heads were trained, without paths.
    """

    backbone: str
    backbone_version: str
    config: HeadsConfig
    shape: HeadsShape
    params: Params
    statistics: ProprioStatistics
    space: ActionSpace
    tokenizer: ActionTokenizer | None = None
    threshold: float | None = None
    backbone_options: Mapping[str, BackboneOption] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        fits = (self.tokenizer is not None) == (self.config.kind == "tokens")
        require(fits, "tokenizer", "given for token heads, and for no others", self.config.kind)

    @property
    def token_decoder(self) -> ActionTokenizer:
        """The tokenizer of token heads.

        Raises:
          ValueError: for heads that predict actions.
        """
        if self.tokenizer is None:
            raise ValueError(f"policy must have token heads, got kind {self.config.kind!r}")
        return self.tokenizer

    def predictor(self, params: Params) -> Predictor:
        """The heads with these parameters and what decodes them; for use while tracing."""
        decoder = None if self.tokenizer is None else self.tokenizer.decoder
        heads = network.bind(self.config, self.shape, params)
        return Predictor(heads, self.config.kind, decoder, self.config.point_estimate)

    def normalize_state(self, state: Float[AnyArray, "b 8"]) -> Float[Array, "b 8"]:
        """The raw state as the heads see it."""
        return proprio.normalize(self.statistics, state)


def save_policy(folder: Path, parts: PolicyParts) -> None:
    """Writes the folder; on any error nothing is left under its name."""
    with FOLDERS.writing(folder, describe(parts), parts.params) as temporary:
        if parts.tokenizer is not None:
            parts.tokenizer.save_pretrained(temporary / TOKENIZER)


def describe(parts: PolicyParts) -> dict[str, Any]:
    """What policy.json says, but the hash of the weights."""
    return {
        "format_version": FOLDERS.newest,
        "backbone": {
            "name": parts.backbone,
            "version": parts.backbone_version,
            "options": dict(parts.backbone_options),
        },
        "config": dataclasses.asdict(parts.config),
        "shape": dataclasses.asdict(parts.shape),
        "state": {name: list(map(float, v)) for name, v in parts.statistics._asdict().items()},
        "space": parts.space.to_dict() if parts.tokenizer is None else None,
        "threshold": parts.threshold,
    }


def load_policy(path_or_name: str | Path) -> PolicyParts:
    """Reads what `save_policy` wrote, from a path, or a bundled one by name.

    Raises:
      FileNotFoundError: if there is none; it lists the bundled names.
      ValueError: if a file is damaged, does not fit the config, or is of a newer format.
    """
    folder = FOLDERS.find(path_or_name)
    description, params = FOLDERS.read(folder)
    tokenizer = None
    if (folder / TOKENIZER).is_dir():
        tokenizer = ActionTokenizer.from_pretrained(folder / TOKENIZER)
    if description["format_version"] == 1:
        description = _of_first_format(description, tokenizer)
    config, shape = _config(description["config"]), _shape(description["shape"])
    wanted = jax.eval_shape(lambda: network.init(config, shape, jax.random.key(0)))
    check_shapes(folder / WEIGHTS, wanted, params)
    state = {name: np.asarray(v, np.float32) for name, v in description["state"].items()}
    if config.kind != "tokens":
        tokenizer, space = None, ActionSpace.from_dict(description["space"])
    elif tokenizer is None:
        raise ValueError(f"{folder / TOKENIZER} is missing")
    else:
        space = tokenizer.space
    return PolicyParts(
        backbone=description["backbone"]["name"],
        backbone_version=description["backbone"]["version"],
        config=config,
        shape=shape,
        params=params,
        statistics=ProprioStatistics(**state),
        space=space,
        tokenizer=tokenizer,
        threshold=description["threshold"],
        backbone_options=description["backbone"]["options"],
    )


def _of_first_format(
    description: dict[str, Any], tokenizer: ActionTokenizer | None
) -> dict[str, Any]:
    """The same in today's words; heads of actions took their normalisation from a tokenizer."""
    if tokenizer is None:
        raise ValueError(f"a policy of format 1 must hold a {TOKENIZER} folder")
    config, shape = dict(description["config"]), dict(description["shape"])
    config["point_estimate"] = ESTIMATES[config.pop("readout")]
    codes = shape.pop("codes")
    shape |= {"horizon": codes["horizon"], "tokens": codes if config["kind"] == "tokens" else None}
    return {
        **description,
        "config": config,
        "shape": shape,
        "space": tokenizer.space.to_dict(),
        # Policies of the small backbone were written without.
        "backbone": {"options": {}, **description["backbone"]},
    }


def _config(options: dict[str, Any]) -> HeadsConfig:
    draft, main = options["draft"], TrunkConfig(**options["main"])
    trunks = {"main": main, "draft": None if draft is None else TrunkConfig(**draft)}
    return HeadsConfig(**{**options, **trunks})


def _shape(options: dict[str, Any]) -> HeadsShape:
    tokens = options["tokens"]
    parts = {
        "early": Depth(**options["early"]),
        "final": Depth(**options["final"]),
        "tokens": None if tokens is None else CodeShape(**tokens),
    }
    return HeadsShape(**{**options, **parts})
