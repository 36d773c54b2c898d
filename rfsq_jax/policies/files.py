"""A policy on disk: `policy.json`, `weights.npz` and `tokenizer/` in one folder, no pickle.

policy.json holds the format version, the backbone's name and version, the heads' config and shape,
the statistics of the state, the early-exit threshold and the hash of weights.npz.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rfsq_jax.backbones.options import BackboneOption
from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.heads import network
from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.runs.files import primary_path, read_json, write_json
from rfsq_jax.runs.weight_files import (
    WEIGHTS,
    check_shapes,
    check_version,
    read_weights,
    write_weights,
)
from rfsq_jax.tokenizers.step import ActionTokenizer

FORMAT_VERSION = 1
DESCRIPTION, TOKENIZER = "policy.json", "tokenizer"
BUNDLED = resources.files("rfsq_jax") / "bundled" / "policies"


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyParts:
    """Everything of a policy but its backbone.

    Attributes:
      backbone: name of the backbone.
      backbone_version: the version that the heads were trained on.
      config: the heads.
      shape: sizes of features and codes.
      params: the heads' parameters.
      statistics: of the state.
      tokenizer: decodes what the heads predict.
      threshold: draft confidence from which an early exit is worth it; None before calibration.
      backbone_options: the backbone's options when the heads were trained, without paths.
    """

    backbone: str
    backbone_version: str
    config: HeadsConfig
    shape: HeadsShape
    params: network.Params
    statistics: ProprioStatistics
    tokenizer: ActionTokenizer
    threshold: float | None = None
    backbone_options: Mapping[str, BackboneOption] = dataclasses.field(default_factory=dict)


def resolve(path_or_name: str | Path) -> Path:
    """Returns the folder of a bundled name or a path that holds a policy."""
    for folder in (Path(path_or_name), Path(str(BUNDLED / str(path_or_name)))):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise FileNotFoundError(
        f"no policy {str(path_or_name)!r}: expected a folder with {DESCRIPTION} "
        f"or one of {bundled_names()}"
    )


def bundled_names() -> list[str]:
    """The policies that come with the package."""
    return sorted(path.parent.name for path in Path(str(BUNDLED)).glob(f"*/{DESCRIPTION}"))


def save_policy(folder: Path, parts: PolicyParts) -> None:
    """Writes the folder; on any error nothing is left under its name."""
    with primary_path(folder) as temporary:
        temporary.mkdir()
        parts.tokenizer.save_pretrained(temporary / TOKENIZER)
        description = {
            "format_version": FORMAT_VERSION,
            "backbone": {
                "name": parts.backbone,
                "version": parts.backbone_version,
                "options": dict(parts.backbone_options),
            },
            "config": dataclasses.asdict(parts.config),
            "shape": {
                "early": dataclasses.asdict(parts.shape.early),
                "final": dataclasses.asdict(parts.shape.final),
                "codes": dataclasses.asdict(parts.shape.codes),
                "action_dim": parts.shape.action_dim,
            },
            "state": {name: list(map(float, v)) for name, v in parts.statistics._asdict().items()},
            "threshold": parts.threshold,
            "weights_sha256": write_weights(temporary, parts.params),
        }
        write_json(temporary / DESCRIPTION, description)


def load_policy(folder: Path) -> PolicyParts:
    """Reads what `save_policy` wrote.

    Raises:
      ValueError: if a file is damaged, does not fit the config, or is of a newer format.
    """
    description = read_json(folder / DESCRIPTION)
    check_version(folder / DESCRIPTION, description, FORMAT_VERSION, "policy")
    config, shape = _config(description["config"]), _shape(description["shape"])
    params = jax.tree.map(jnp.asarray, read_weights(folder, description["weights_sha256"]))
    wanted = jax.eval_shape(lambda: network.init(config, shape, jax.random.key(0)))
    check_shapes(folder / WEIGHTS, wanted, params)
    state = {name: np.asarray(v, np.float32) for name, v in description["state"].items()}
    return PolicyParts(
        backbone=description["backbone"]["name"],
        backbone_version=description["backbone"]["version"],
        config=config,
        shape=shape,
        params=params,
        statistics=ProprioStatistics(**state),
        tokenizer=ActionTokenizer.from_pretrained(folder / TOKENIZER),
        threshold=description["threshold"],
        # Policies of the small backbone were written without.
        backbone_options=description["backbone"].get("options", {}),
    )


def _config(options: dict[str, Any]) -> HeadsConfig:
    draft = options.pop("draft")
    main = TrunkConfig(**options.pop("main"))
    return HeadsConfig(main=main, draft=None if draft is None else TrunkConfig(**draft), **options)


def _shape(options: dict[str, Any]) -> HeadsShape:
    return HeadsShape(
        early=Depth(**options["early"]),
        final=Depth(**options["final"]),
        codes=CodeShape(**options["codes"]),
        action_dim=options["action_dim"],
    )
