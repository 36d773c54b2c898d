"""A policy on disk: `policy.json`, `weights.npz` and, of token heads, `tokenizer/`; no pickle.

policy.json holds the format version, the backbone's name, version and options, the heads' config
and shape, the statistics of the state, the early-exit threshold, the action space or the hash of
the tokenizer, the hash of weights.npz, and one over all of that. The first format had a tokenizer
with every policy; the first two had no hash but that of the weights.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rfsq_jax.backbones.protocol import BackboneOption
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.heads import network
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.parallel.hosts import is_primary
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.runs.descriptions import digest
from rfsq_jax.runs.json_files import read_json
from rfsq_jax.runs.records import parse_record
from rfsq_jax.runs.trees import Params, require_finite
from rfsq_jax.runs.weight_files import WEIGHTS, WeightFolders, check_shapes
from rfsq_jax.tokenizers.files import FOLDERS as TOKENIZERS
from rfsq_jax.tokenizers.protocol import ActionTokenizer

TOKENIZER = "tokenizer"
TOKENIZER_HASH = "tokenizer_sha256"
FOLDERS = WeightFolders(
    "policy", newest=3, sealed_since=3, bundled="policies", further=(TOKENIZER,)
)
ESTIMATES = {"argmax": "mode", "expected": "mean"}
"""What the first format called point estimates."""


@dataclasses.dataclass(frozen=True)
class BackboneFile:
    """What policy.json says of the backbone that the heads were trained on."""

    name: str
    version: str
    options: dict[str, BackboneOption]


@dataclasses.dataclass(frozen=True)
class StatisticsFile:
    """Mean and standard deviation of the state."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class PolicyFile:
    """policy.json without its hashes of weights and description; see `PolicyParts`."""

    format_version: int
    backbone: BackboneFile
    config: HeadsConfig
    shape: HeadsShape
    state: StatisticsFile
    space: dict[str, Any] | None
    threshold: float | None
    tokenizer_sha256: str | None = None


def save_policy(folder: Path, parts: PolicyParts) -> None:
    """Writes the folder; whatever happens, it holds the old files or the new ones.

    Of the processes of a run, the first one does.

    Raises:
      ValueError: if the folder holds something else than a policy.
      OSError: if the file system refuses.
    """
    if not is_primary():
        return
    description = describe(parts)
    with FOLDERS.writing(folder, description, parts.params) as temporary:
        if parts.tokenizer is not None:
            parts.tokenizer.save_pretrained(temporary / TOKENIZER)
            description[TOKENIZER_HASH] = _hash_of(temporary / TOKENIZER)


def describe(parts: PolicyParts) -> dict[str, Any]:
    """What policy.json says, but its version and its hashes."""
    return {
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
      ValueError: if a file is damaged, does not fit the others, or is of a newer format.
    """
    return FOLDERS.load(path_or_name, _read)


def _read(folder: Path) -> PolicyParts:
    description, params = FOLDERS.read(folder)
    path = folder / FOLDERS.description
    tokenizer = _read_tokenizer(folder)
    if description["format_version"] == 1:
        description = _of_first_format(path, description, tokenizer)
    stored = parse_record(PolicyFile, description, str(path))
    if stored.config.kind != "tokens":
        tokenizer = None
    elif tokenizer is None:
        raise ValueError(f"{folder / TOKENIZER} is missing")
    if stored.format_version >= FOLDERS.sealed_since:
        _require_tokenizer(path, stored)
    wanted = jax.eval_shape(lambda: network.init(stored.config, stored.shape, jax.random.key(0)))
    check_shapes(folder / WEIGHTS, wanted, params)
    require_finite(str(folder / WEIGHTS), params)
    try:
        return _parts(stored, params, tokenizer)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parts(stored: PolicyFile, params: Params, tokenizer: ActionTokenizer | None) -> PolicyParts:
    state = {name: np.asarray(each, np.float32) for name, each in vars(stored.state).items()}
    if tokenizer is None:
        space = ActionSpace.from_dict(stored.space or {}, "space")
    else:
        space = tokenizer.space
    return PolicyParts(
        backbone=stored.backbone.name,
        backbone_version=stored.backbone.version,
        config=stored.config,
        shape=stored.shape,
        params=params,
        statistics=ProprioStatistics(**state),
        space=space,
        tokenizer=tokenizer,
        threshold=stored.threshold,
        backbone_options=stored.backbone.options,
    )


def _read_tokenizer(folder: Path) -> ActionTokenizer | None:
    if not (folder / TOKENIZER).is_dir():
        return None
    return ActionTokenizer.from_pretrained(folder / TOKENIZER)


def _require_tokenizer(path: Path, stored: PolicyFile) -> None:
    """Raises a ValueError unless the tokenizer is the one that the heads were saved with."""
    expected = stored.tokenizer_sha256
    got = _hash_of(path.parent / TOKENIZER) if stored.config.kind == "tokens" else None
    if got != expected:
        raise ValueError(f"{path} was saved with a {TOKENIZER} of sha256 {expected}, got {got}")


def _hash_of(tokenizer: Path) -> str:
    return digest(read_json(tokenizer / TOKENIZERS.description))


def _of_first_format(
    path: Path, description: dict[str, Any], tokenizer: ActionTokenizer | None
) -> dict[str, Any]:
    """The same in today's words; heads of actions took their normalisation from a tokenizer."""
    if tokenizer is None:
        raise ValueError(f"{path} of format 1 must have a {TOKENIZER} folder beside it")
    try:
        config, shape = dict(description["config"]), dict(description["shape"])
        config["point_estimate"] = ESTIMATES[config.pop("readout")]
        codes = dict(shape.pop("codes"))
        # Policies of the small backbone were written without options.
        backbone = {"options": {}, **description["backbone"]}
        predicts_tokens, horizon = config["kind"] == "tokens", codes["horizon"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} of format 1 is damaged: {error!r}") from error
    shape |= {"horizon": horizon, "tokens": codes if predicts_tokens else None}
    space = tokenizer.space.to_dict()
    return {**description, "config": config, "shape": shape, "space": space, "backbone": backbone}
