"""What heads are worth on episodes that nothing was trained on.

Axes: N frames · B block · T steps of a chunk · A action dims · D latent dims · L layers, of which P
coarse.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import HeadsConfig, PointEstimate
from rfsq_jax.heads.early_exit import MAX_EXCESS, calibrate_threshold
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.prediction import Prediction, Predictor, of_draft
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.parallel.batching import pad_rows
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.tokenizers.protocol import ActionTokenizer
from rfsq_jax.training.heads.data import HeadsData, check_split
from rfsq_jax.training.heads.objective import Batch
from rfsq_jax.training.heads.training import BEST_METRIC
from rfsq_jax.training.row_means import row_means

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
    config: HeadsConfig,
    shape: HeadsShape,
    statistics: ProprioStatistics,
    tokenizer: ActionTokenizer | None,
) -> Predict:
    """Returns a jitted function of one block; token heads need their tokenizer."""
    decoder = None if tokenizer is None else tokenizer.decoder

    @jax.jit
    def predict(params: network.Params, batch: Batch) -> HeldOut:
        heads = network.bind(config, shape, params)
        state = proprio.normalize(statistics, batch.state)
        predictor = Predictor(heads, config.kind, decoder, config.point_estimate)
        main = predictor.main(batch.final, state)
        draft = sure = None
        if config.draft is not None:
            logits = heads.draft(batch.early, state)
            draft = of_draft(predictor.code_decoder, logits)
            sure = predictor.confidence(logits)
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
    """Runs all rows in blocks of one size; the parameters are this process's own."""
    blocks = np.split(np.arange(len(data)), range(BLOCK, len(data), BLOCK))
    found = [jax.device_get(predict(params, data.read(pad_rows(each, BLOCK)))) for each in blocks]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(data)], *found)


def make_evaluate(
    predict: Predict, data: HeadsData, point_estimate: PointEstimate, mesh: Mesh
) -> Callable[[network.Params], dict[str, float]]:
    """Returns the figures that the training loop watches; the mesh shares the work."""

    def values(params: network.Params, batch: Batch) -> dict[str, Float[Array, " b"]]:
        def error(chunk: Float[AnyArray, "b t a"]) -> Float[Array, " b"]:
            return jnp.mean(jnp.abs(chunk - batch.actions), axis=(1, 2))

        held_out = predict(params, batch)
        found = {"error_mode": error(held_out.main.mode), "error_mean": error(held_out.main.mean)}
        if held_out.main.codes is not None:
            hits = held_out.main.codes == batch.targets
            found["held_out_accuracy"] = jnp.mean(hits.reshape(len(hits), -1), axis=1)
        if held_out.draft is not None:
            found["draft_error_mean"] = error(held_out.draft.mean)
        return found

    means = row_means(values, mesh, BLOCK)

    def evaluate(params: network.Params) -> dict[str, float]:
        figures = means(params, data.read, len(data))
        return {**figures, BEST_METRIC: figures[f"error_{point_estimate}"]}

    return evaluate


def calibrate(
    held_out: HeldOut,
    data: HeadsData,
    point_estimate: PointEstimate,
    max_excess: float = MAX_EXCESS,
) -> Figures | None:
    """Chooses the early-exit threshold on every second held-out episode, measures it on the rest.

    Args:
      held_out: predictions.
      data: what was predicted.
      point_estimate: what becomes an action.
      max_excess: see `calibrate_threshold`.

    Returns:
      the threshold, and on the other episodes: the share that exits, the mean absolute error of
      normalised actions, and that of the main head alone. None without a draft.
    """
    if held_out.draft is None or held_out.confidence is None:
        return None
    main, draft = (
        np.abs(np.asarray(each.actions(point_estimate)) - data.actions).mean(axis=(1, 2))
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


def measure(held_out: HeldOut, data: HeadsData, train: HeadsData, space: ActionSpace) -> Figures:
    """All figures for the report; token figures are per layer, never only their mean."""
    figures: Figures = {"frames": len(data), "actions": _action_figures(held_out, data, space)}
    if held_out.main.codes is None:
        return figures
    codes, truth = np.asarray(held_out.main.codes), data.targets
    if held_out.given is None:
        figures["accuracy"] = {"main": float(np.mean(codes == truth))}
        return figures
    figures["accuracy"] = {
        "main": _per_layer(codes == truth),
        "main_given_true_coarse": _per_layer(np.asarray(held_out.given) == truth),
        "majority_level": _per_layer(truth == majority(train.targets, per_dim=False)),
        "majority_level_of_dim": _per_layer(truth == majority(train.targets, per_dim=True)),
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


def measure_policy(parts: PolicyParts, trained_on: Path, measured_on: Path) -> Figures:
    """The figures of train.heads, and which `point_estimate` the policy acts by.

    Args:
      parts: the policy.
      trained_on: features of its training, which give the majority levels.
      measured_on: features whose held-out frames are predicted; the same, or other frames.

    Raises:
      ValueError: if the two do not hold out the same episodes.
    """
    check_split(trained_on, measured_on)
    train, held_out = (
        HeadsData.of(FeatureStore.open(folder), split, parts.space, parts.tokenizer, parts.config)
        for folder, split in ((trained_on, "train"), (measured_on, "held_out"))
    )
    predict = make_predict(parts.config, parts.shape, parts.statistics, parts.tokenizer)
    everything = predict_all(predict, parts.params, held_out)
    figures = measure(everything, held_out, train, parts.space)
    return {**figures, "point_estimate": parts.config.point_estimate}


def majority(codes: Int[np.ndarray, "n t d l"], *, per_dim: bool) -> Int[np.ndarray, "..."]:
    """The most frequent level of each layer [L], or of each latent dim and layer [D, L]."""
    axes = (0, 1) if per_dim else (0, 1, 2)
    counts = [(codes == level).mean(axis=axes) for level in range(int(codes.max()) + 1)]
    return np.argmax(counts, axis=0)


def gripper_f1(
    actions: Float[np.ndarray, "n t a"], truth: Float[np.ndarray, "n t a"], spec: ActionSpec
) -> float:
    """F1 of the higher command per step, normalised; 1.0 where it is neither given nor said."""
    dims = spec.dims("gripper")
    said, true = actions[..., dims] > 0, truth[..., dims] > 0
    if not (said.any() or true.any()):
        return 1.0
    return float(2 * np.sum(said & true) / (np.sum(said) + np.sum(true)))


def _action_figures(held_out: HeldOut, data: HeadsData, space: ActionSpace) -> Figures:
    estimates = {"mode": held_out.main.mode, "mean": held_out.main.mean}
    if held_out.draft is not None:
        estimates |= {"draft_mode": held_out.draft.mode, "draft_mean": held_out.draft.mean}
    truth = space.normalization.denormalize(data.actions)
    figures: Figures = {}
    for name, estimate in estimates.items():
        values = np.asarray(estimate)
        restored = space.normalization.denormalize(values)
        figures[name] = {
            "l1": float(np.abs(values - data.actions).mean()),
            **reconstruction_errors(truth, restored, space),
        }
        if "gripper" in space.spec.kinds:
            figures[name]["gripper_f1"] = gripper_f1(values, data.actions, space.spec)
    return figures


def _per_layer(hits: np.ndarray) -> list[float]:
    return hits.mean(axis=tuple(range(hits.ndim - 1))).tolist()
