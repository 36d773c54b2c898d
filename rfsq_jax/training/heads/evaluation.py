"""What heads are worth on episodes that nothing was trained on.

Axes: N frames · B block · T steps of a chunk · A action dims · D latent dims · L layers, of which P
coarse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.data.normalization import Normalization
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.early_exit import MAX_EXCESS, calibrate_threshold, confidence
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.prediction import Decoder, Prediction, of_draft, predict_main
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.training.heads.data import HeadsData
from rfsq_jax.training.heads.objective import Batch
from rfsq_jax.training.heads.training import BEST_METRIC

BLOCK = 128
Figures = dict[str, Any]


class HeldOut(NamedTuple):
    """Everything that was predicted for the held-out frames, in order.

    Attributes:
      main: of the main head, greedy.
      draft: of the draft head, if there is one.
      confidence: float32 [N], the draft's; else None.
      given: codes of the main head when its fine layers see the true coarse codes; else None.
    """

    main: Prediction
    draft: Prediction | None
    confidence: Float[AnyArray, " n"] | None
    given: Int[AnyArray, "n t d l"] | None


Predict = Callable[[network.Params, Batch], HeldOut]


def make_predict(
    config: HeadsConfig, shape: HeadsShape, statistics: ProprioStatistics, decoder: Decoder
) -> Predict:
    """Returns a jitted function of one block."""

    @jax.jit
    def predict(params: network.Params, batch: Batch) -> HeldOut:
        heads = network.bind(config, shape, params)
        state = proprio.normalize(statistics, batch.state)
        main = predict_main(heads, config.kind, decoder, batch.final, state)
        draft = sure = None
        if config.draft is not None:
            logits = heads.draft(batch.early, state)
            draft, sure = of_draft(decoder, logits), confidence(decoder, logits)
        given = None
        if config.kind == "tokens":
            hidden = heads.main.hidden(batch.final, state)
            coarse = batch.targets[..., : shape.codes.coarse].astype(jnp.int32)
            fine = jnp.argmax(heads.main.fine(hidden, coarse), axis=-1)
            own = jnp.argmax(heads.main.coarse(hidden), axis=-1)
            given = jnp.concatenate([own, fine], axis=-1)
        return HeldOut(main, draft, sure, given)

    return predict


def predict_all(predict: Predict, params: network.Params, data: HeadsData) -> HeldOut:
    """Runs all rows in blocks of one size."""
    places = np.arange(len(data))
    blocks = []
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        padded = np.resize(block, BLOCK)
        result = jax.device_get(predict(params, data.read(padded)))
        blocks.append(result)
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)
    return jax.tree.map(lambda leaf: leaf[: len(data)], joined)


def make_evaluate(
    predict: Predict, data: HeadsData, readout: str
) -> Callable[[network.Params], dict[str, float]]:
    """Returns the figures that the training loop watches."""

    def evaluate(params: network.Params) -> dict[str, float]:
        held_out = predict_all(predict, params, data)
        figures = {
            "error_argmax": _error(held_out.main.actions, data),
            "error_expected": _error(held_out.main.expected, data),
        }
        figures[BEST_METRIC] = figures[f"error_{readout}"]
        if held_out.main.codes is not None:
            hits = np.asarray(held_out.main.codes) == data.targets
            figures["held_out_accuracy"] = float(np.mean(hits))
        if held_out.draft is not None:
            figures["draft_error_expected"] = _error(held_out.draft.expected, data)
        return figures

    return evaluate


def calibrate(
    held_out: HeldOut, data: HeadsData, readout: str, max_excess: float = MAX_EXCESS
) -> Figures | None:
    """Chooses the early-exit threshold on every second held-out episode, measures it on the rest.

    Args:
      held_out: predictions.
      data: what was predicted.
      readout: what becomes an action.
      max_excess: see `calibrate_threshold`.

    Returns:
      the threshold, and on the other episodes: the share that exits, the mean absolute error of
      normalised actions, and that of the main head alone. None without a draft.
    """
    if held_out.draft is None or held_out.confidence is None:
        return None
    field = "expected" if readout == "expected" else "actions"
    main, draft = (
        np.abs(np.asarray(getattr(each, field)) - data.actions).mean(axis=(1, 2))
        for each in (held_out.main, held_out.draft)
    )
    episodes = data.store.episode[data.rows]
    chosen = np.isin(episodes, np.unique(episodes)[::2])
    sure = np.asarray(held_out.confidence)
    threshold = calibrate_threshold(sure[chosen], draft[chosen], main[chosen], max_excess)
    exits = sure[~chosen] >= threshold
    return {
        "threshold": threshold,
        "exit_share": float(exits.mean()),
        "error": float(np.where(exits, draft[~chosen], main[~chosen]).mean()),
        "error_of_main": float(main[~chosen].mean()),
    }


def measure(
    held_out: HeldOut, data: HeadsData, train: HeadsData, normalization: Normalization
) -> Figures:
    """All figures for the report; token figures are per layer, never only their mean."""
    figures: Figures = {
        "frames": len(data),
        "actions": _action_figures(held_out, data, normalization),
    }
    if held_out.main.codes is None:
        return figures
    codes = np.asarray(held_out.main.codes)
    truth = data.targets
    if held_out.given is None:
        figures["accuracy"] = {"main": float(np.mean(codes == truth))}
        return figures
    figures["accuracy"] = {
        "main": _per_layer(codes == truth),
        "main_given_true_coarse": _per_layer(np.asarray(held_out.given) == truth),
        "commonest_level": _per_layer(truth == commonest(train.targets, per_dim=False)),
        "commonest_level_of_dim": _per_layer(truth == commonest(train.targets, per_dim=True)),
    }
    if held_out.draft is not None:
        drafted = np.asarray(held_out.draft.codes)
        coarse = drafted.shape[-1]
        figures["accuracy"]["draft"] = _per_layer(drafted == truth[..., :coarse])
        agreement = drafted == codes[..., :coarse]
        figures["agreement"] = {
            "per_layer": _per_layer(agreement),
            "per_step": agreement.all(axis=(-1, -2)).mean(axis=0).tolist(),
        }
    return figures


def commonest(codes: Int[np.ndarray, "n t d l"], *, per_dim: bool) -> Int[np.ndarray, "..."]:
    """The most frequent level of each layer [L], or of each latent dim and layer [D, L]."""
    axes = (0, 1) if per_dim else (0, 1, 2)
    counts = [(codes == level).mean(axis=axes) for level in range(int(codes.max()) + 1)]
    return np.argmax(counts, axis=0)


def gripper_f1(actions: Float[np.ndarray, "n t a"], truth: Float[np.ndarray, "n t a"]) -> float:
    """F1 of "close" per step; 1.0 where nothing closes and nothing is said to."""
    said, true = actions[..., -1] > 0, truth[..., -1] > 0
    if not (said.any() or true.any()):
        return 1.0
    right = np.sum(said & true)
    return float(2 * right / (2 * right + np.sum(said != true)))


def _action_figures(held_out: HeldOut, data: HeadsData, normalization: Normalization) -> Figures:
    readouts = {"argmax": held_out.main.actions, "expected": held_out.main.expected}
    if held_out.draft is not None:
        readouts |= {
            "draft_argmax": held_out.draft.actions,
            "draft_expected": held_out.draft.expected,
        }
    truth = normalization.denormalize(data.actions)
    arrays = {name: np.asarray(values) for name, values in readouts.items()}
    return {
        name: {
            "l1": float(np.abs(values - data.actions).mean()),
            **reconstruction_errors(truth, normalization.denormalize(values), normalization),
            "gripper_f1": gripper_f1(values, data.actions),
        }
        for name, values in arrays.items()
    }


def _error(values: Any, data: HeadsData) -> float:
    return float(np.abs(np.asarray(values) - data.actions).mean())


def _per_layer(hits: np.ndarray) -> list[float]:
    return hits.mean(axis=tuple(range(hits.ndim - 1))).tolist()
