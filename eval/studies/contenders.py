"""Who is compared by eval.compare, and what is known of each without the simulator.

Axes: N frames · T steps of a chunk · A action dims · D latent dims · L layers.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.policies.files import load_policy, save_policy
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.bins import from_bins, to_bins
from rfsq_jax.training.heads.evaluation import measure_policy

NAIVE, STRATEGY_A, STRATEGY_B = "naive", "strategy A", "strategy B"


@dataclasses.dataclass(frozen=True)
class Contender:
    """One policy, and the tokenizer whose tokens its heads were taught.

    Attributes:
      name: in the tables.
      policy: its folder.
      taught: folder of the policy whose tokenizer made the training targets.
    """

    name: str
    policy: Path
    taught: Path


def swap_decoder(naive: Path, robust: Path, folder: Path) -> Path:
    """Writes strategy B: heads trained on naive tokens, whose codes the robust tokenizer decodes.

    Raises:
      ValueError: if the two tokenizers' codes do not have the same shape.
    """
    heads, other = load_policy(naive), load_policy(robust)
    if heads.shape.codes != other.shape.codes:
        raise ValueError(
            f"strategy B needs codes of one shape, got {heads.shape.codes} of {naive} "
            f"and {other.shape.codes} of {robust}"
        )
    if not folder.is_dir():
        swapped = dataclasses.replace(heads, tokenizer=other.tokenizer, space=other.space)
        save_policy(folder, swapped)
    return folder


def offline_figures(contender: Contender, features: Path) -> dict[str, Any]:
    """Token accuracy, action error and reconstruction error on held-out frames.

    Strategy B is held against the robust tokens, which its decoder would need.
    """
    parts = load_policy(contender.policy)
    figures = measure_policy(parts, features, features)
    actions = held_out_actions(features)
    back = there_and_back(contender, parts, actions)
    if back is not None:
        figures["reconstruction"] = reconstruction_errors(actions, back, parts.space)
    return figures


def held_out_actions(features: Path) -> Float[np.ndarray, "n t a"]:
    """The recorded chunks of the held-out frames, robot units."""
    store = FeatureStore.open(features)
    return np.asarray(store.actions[store.rows("held_out")])


def there_and_back(
    contender: Contender, parts: PolicyParts, actions: Float[np.ndarray, "n t a"]
) -> Float[np.ndarray, "n t a"] | None:
    """What perfect heads would do: the training targets, decoded as the policy decodes."""
    if parts.config.kind == "tokens":
        taught = load_policy(contender.taught).token_decoder
        return parts.token_decoder.decode(taught.encode(actions))
    if parts.config.kind == "bins":
        normalization, bins = parts.space.normalization, parts.config.num_bins
        values = from_bins(to_bins(normalization.normalize(actions), bins), bins)
        return normalization.denormalize(values)
    return None


def swap_evidence(
    naive: ActionTokenizer, robust: ActionTokenizer, actions: Float[np.ndarray, "n t a"]
) -> dict[str, Any]:
    """Why another decoder cannot read naive codes: how often the two tokenizers agree.

    Returns:
      `same_codes`, the share of equal codes by layer; `by_chance`, what independent codes with the
      same frequencies would share; `mse_of_swap`, and `mse_of_mean`, of always playing the mean
      action, both in normalised units.
    """
    ours, theirs = naive.encode(actions), robust.encode(actions)
    layers = range(ours.shape[-1])
    mean = np.broadcast_to(actions.mean(axis=(0, 1)), actions.shape).astype(np.float32)
    swapped = robust.decode(ours)
    return {
        "same_codes": [float(np.mean(ours[..., i] == theirs[..., i])) for i in layers],
        "by_chance": [_by_chance(ours[..., i], theirs[..., i]) for i in layers],
        "mse_of_swap": reconstruction_errors(actions, swapped, robust.space)["mse"],
        "mse_of_mean": reconstruction_errors(actions, mean, robust.space)["mse"],
    }


def _by_chance(ours: np.ndarray, theirs: np.ndarray) -> float:
    levels = 1 + int(max(ours.max(), theirs.max()))
    shares = [
        np.stack([(codes == level).mean(axis=(0, 1)) for level in range(levels)])
        for codes in (ours, theirs)
    ]
    return float(np.mean(np.sum(shares[0] * shares[1], axis=0)))
