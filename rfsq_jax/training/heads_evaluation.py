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
from rfsq_jax.heads import model, proprio
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.model import HeadsShape
from rfsq_jax.heads.prediction import Decoder, Prediction, predict_draft, predict_main
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.training.heads import BEST_METRIC, Batch
from rfsq_jax.training.heads_data import HeadsData

BLOCK = 128
Figures = dict[str, Any]


class HeldOut(NamedTuple):
    """Everything that was predicted for the held-out frames, in order.

    Attributes:
      main: of the main head, greedy.
      draft: of the draft head, if there is one.
      given: codes of the main head when its fine layers see the true coarse codes; else None.
    """

    main: Prediction
    draft: Prediction | None
    given: Int[np.ndarray, "n t d l"] | None


Predict = Callable[[model.Params, Batch], HeldOut]


def make_predict(
    config: HeadsConfig, shape: HeadsShape, statistics: ProprioStatistics, decoder: Decoder
) -> Predict:
    """Returns a jitted function of one block."""

    @jax.jit
    def predict(params: model.Params, batch: Batch) -> HeldOut:
        heads = model.bind(config, shape, params)
        state = proprio.normalize(statistics, batch.state)
        main = predict_main(heads, config.kind, decoder, batch.final, state)
        draft = None
        if config.draft is not None:
            draft = predict_draft(heads, decoder, batch.early, state)
        given = None
        if config.kind == "tokens":
            hidden = heads.main.hidden(batch.final, state)
            coarse = batch.targets[..., : shape.codes.coarse].astype(jnp.int32)
            logits = heads.main.fine(hidden, coarse)
            fine = jnp.argmax(logits, axis=-1)
            given = jnp.concatenate([main.codes[..., : shape.codes.coarse], fine], axis=-1)
        return HeldOut(main, draft, given)

    return predict


def predict_all(predict: Predict, params: model.Params, data: HeadsData) -> HeldOut:
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
) -> Callable[[model.Params], dict[str, float]]:
    """Returns the figures that the training loop watches."""

    def evaluate(params: model.Params) -> dict[str, float]:
        held_out = predict_all(predict, params, data)
        actions = getattr(held_out.main, "expected" if readout == "expected" else "actions")
        figures = {
            BEST_METRIC: float(np.abs(actions - data.actions).mean()),
            "error_argmax": float(np.abs(held_out.main.actions - data.actions).mean()),
            "error_expected": float(np.abs(held_out.main.expected - data.actions).mean()),
        }
        if held_out.main.codes is not None:
            figures["held_out_accuracy"] = float((held_out.main.codes == data.targets).mean())
        if held_out.draft is not None:
            error = np.abs(held_out.draft.expected - data.actions)
            figures["draft_error_expected"] = float(error.mean())
        return figures

    return evaluate


def measure(
    held_out: HeldOut, data: HeadsData, train: HeadsData, normalization: Normalization
) -> Figures:
    """All figures for the report; token figures are per layer, never only their mean."""
    figures: Figures = {
        "frames": len(data),
        "actions": _action_figures(held_out, data, normalization),
    }
    codes = held_out.main.codes
    if codes is None:
        return figures
    if held_out.given is None:
        figures["accuracy"] = {"main": float((codes == data.targets).mean())}
        return figures
    truth = data.targets
    figures["accuracy"] = {
        "main": _per_layer(codes == truth),
        "main_given_true_coarse": _per_layer(held_out.given == truth),
        "commonest_level": _per_layer(truth == commonest(train.targets, per_dim=False)),
        "commonest_level_of_dim": _per_layer(truth == commonest(train.targets, per_dim=True)),
    }
    if held_out.draft is not None and held_out.draft.codes is not None:
        coarse = held_out.draft.codes.shape[-1]
        figures["accuracy"]["draft"] = _per_layer(held_out.draft.codes == truth[..., :coarse])
        agreement = held_out.draft.codes == codes[..., :coarse]
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
    wrong = np.sum(said != true)
    return (
        float(2 * np.sum(said & true) / max(2 * np.sum(said & true) + wrong, 1))
        if (np.any(said) or np.any(true))
        else 1.0
    )


def _action_figures(held_out: HeldOut, data: HeadsData, normalization: Normalization) -> Figures:
    readouts = {"argmax": held_out.main.actions, "expected": held_out.main.expected}
    if held_out.draft is not None:
        readouts |= {
            "draft_argmax": held_out.draft.actions,
            "draft_expected": held_out.draft.expected,
        }
    truth = normalization.denormalize(data.actions)
    return {
        name: {
            "l1": float(np.abs(values - data.actions).mean()),
            **reconstruction_errors(truth, normalization.denormalize(values), normalization),
            "gripper_f1": gripper_f1(values, data.actions),
        }
        for name, values in readouts.items()
    }


def _per_layer(hits: np.ndarray) -> list[float]:
    return hits.mean(axis=tuple(range(hits.ndim - 1))).tolist()
