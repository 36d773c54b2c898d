"""What a policy's heads say about stored frames, whether speculation says the same, and the plot.

Axes: N frames · B block · T steps of a chunk · A action dims · D latent dims · L layers, of which P
coarse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.backbones.protocol import EARLY, FINAL
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads import decoding
from rfsq_jax.heads.decoding import Acceptance
from rfsq_jax.heads.early_exit import NEVER, Cost, CurvePoint, calibrate_threshold, curve
from rfsq_jax.heads.prediction import of_logits
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.runs import plots
from rfsq_jax.runs.trees import Params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXIT_SHARES = tuple(np.linspace(0.0, 1.0, 21).tolist())


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """One row per frame.

    Attributes:
      identical: bool [N], whether speculation gave the codes of greedy decoding, with the draft's
        proposal and with greedy's own coarse codes, where no second fine pass runs.
      confidence: float32 [N], of the draft.
      error_main: float32 [N], mean absolute error of the main head's normalised actions.
      error_draft: float32 [N], the same for the draft's, with the expected residual.
    """

    identical: Bool[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    error_main: Float[np.ndarray, " n"]
    error_draft: Float[np.ndarray, " n"]


class Speculated(NamedTuple):
    """A block's codes after the draft's proposal, what was accepted, and what an exit needs."""

    codes: Int[Array, "b t d l"]
    acceptance: Acceptance
    confidence: Float[Array, " b"]
    error_main: Float[Array, " b"]
    error_draft: Float[Array, " b"]


def measure_frames(
    parts: PolicyParts,
    store: FeatureStore,
    rows: Int[np.ndarray, " n"],
    block: int,
    after_block: Callable[[int], object],
) -> tuple[Frames, Acceptance]:
    """Decodes the rows of the store in blocks.

    Args:
      parts: token heads with a draft.
      store: features of the policy's backbone.
      rows: which, in this order.
      block: frames in one call.
      after_block: gets the number of frames done.

    Returns:
      the frames, and the acceptance of the draft's proposals summed over all of them.
    """
    greedy, speculate, verify = _programs(parts)
    blocks, counts = [], []
    for start in range(0, len(rows), block):
        chosen = rows[start : start + block]
        final, state = store.gather(FINAL, chosen), store.state[chosen]
        truth = parts.space.normalization.normalize(store.actions[chosen])
        codes = np.asarray(greedy(parts.params, final, state))
        found = speculate(parts.params, final, store.gather(EARLY, chosen), state, truth)
        own = verify(parts.params, codes[..., : parts.shape.codes.coarse], final, state)
        same = (found.codes == codes).all(axis=(1, 2, 3)) & (own == codes).all(axis=(1, 2, 3))
        blocks.append((same, found.confidence, found.error_main, found.error_draft))
        counts.append(found.acceptance)
        after_block(len(chosen))
    frames = Frames(*(np.concatenate(column) for column in zip(*blocks, strict=True)))
    return frames, jax.tree.map(lambda *parts: np.sum(parts, axis=0), *counts)


def spread_rows(rows: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " m"]:
    """At most `count` of the rows, spread evenly."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def exit_curve(
    frames: Frames, episode: Int[np.ndarray, " n"], max_excess: float, flops: Cost, seconds: Cost
) -> tuple[CurvePoint, list[CurvePoint]]:
    """Chooses the threshold on every second episode.

    Returns:
      the chosen threshold's point and the whole curve, both measured on the other episodes.
    """
    first = np.isin(episode, np.unique(episode)[::2])
    threshold = calibrate_threshold(*_exit_columns(frames, first), max_excess)
    shown = _exit_columns(frames, ~first)
    ranked = np.sort(shown[0])[::-1]
    places = [round(share * len(ranked)) for share in EXIT_SHARES]
    thresholds = [float(ranked[place - 1]) if place else NEVER for place in places]
    chosen, *points = curve(*shown, [threshold, *thresholds], flops, seconds)
    return chosen, points


def acceptance_figures(
    frames: Frames, acceptance: Acceptance, parts: PolicyParts
) -> dict[str, Any]:
    """Shares of the draft's proposals that the main head would have said itself."""
    chunks, codes = len(frames.identical), parts.shape.codes
    return {
        "chunks": chunks,
        "identical": int(frames.identical.sum()),
        "tokens_per_layer": (acceptance.tokens / (chunks * codes.horizon * codes.dim)).tolist(),
        "steps": (acceptance.steps / chunks).tolist(),
        "whole_chunks": float(acceptance.chunks / chunks),
    }


def plot(figures: dict[str, Any], points: Sequence[CurvePoint], path: Path) -> None:
    """Writes the early-exit curve, and which proposals are accepted, as a PNG."""
    figure, (curve, acceptance) = plots.new_figure((12.0, 4.2), 2)
    _plot_curve(curve, points, CurvePoint(**figures["early_exit"]["calibrated"]))
    _plot_acceptance(acceptance, figures["speculation"])
    plots.save_figure(figure, path)


def _programs(parts: PolicyParts) -> tuple[Callable[..., Any], ...]:
    """Greedy decoding, speculation with the draft's proposal, and with a given proposal.

    They are compiled apart, as a policy's would be.
    """

    def greedy(params: Params, final: Array, state: Array) -> Array:
        heads = parts.predictor(params).heads
        return decoding.greedy(heads.main, final, parts.normalize_state(state))

    def speculate(
        params: Params, final: Array, early: Array, state: Array, truth: Array
    ) -> Speculated:
        predictor, state = parts.predictor(params), parts.normalize_state(state)
        draft = predictor.heads.draft(early, state)
        proposal = jnp.argmax(draft, axis=-1)
        logits, acceptance = decoding.speculate_logits(predictor.heads.main, proposal, final, state)
        taken = of_logits(predictor.code_decoder, logits).actions(predictor.point_estimate)
        errors = (
            jnp.abs(actions - truth).mean(axis=(1, 2))
            for actions in (taken, predictor.prefix_actions(draft))
        )
        codes = jnp.argmax(logits, axis=-1)
        return Speculated(codes, acceptance, predictor.confidence(draft), *errors)

    def verify(params: Params, proposal: Array, final: Array, state: Array) -> Array:
        heads = parts.predictor(params).heads
        return decoding.speculate(heads.main, proposal, final, parts.normalize_state(state))[0]

    return jax.jit(greedy), jax.jit(speculate), jax.jit(verify)


def _exit_columns(
    frames: Frames, chosen: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    return frames.confidence[chosen], frames.error_draft[chosen], frames.error_main[chosen]


def _plot_curve(axes: Axes, points: Sequence[CurvePoint], chosen: CurvePoint) -> None:
    for field, colour, marker in (("seconds", plots.BLUE, "o"), ("flops", plots.VERMILION, "s")):
        values = [100 * getattr(point, field) for point in points]
        errors = [100 * point.error for point in points]
        label = {"seconds": "time", "flops": "FLOPs"}[field]
        axes.plot(values, errors, color=colour, marker=marker, markersize=4, label=label)
    axes.plot(100 * chosen.seconds, 100 * chosen.error, "*", color="black", markersize=12,
              label="calibrated threshold, time")  # fmt: skip
    axes.set(xlabel="% of the greedy policy's", ylabel="action error, % of the main head's")
    axes.set_title("Early exits save", loc="left")
    axes.legend(frameon=False)


def _plot_acceptance(axes: Axes, figures: dict[str, Any]) -> None:
    steps = range(1, len(figures["steps"]) + 1)
    axes.bar(
        steps, [100 * share for share in figures["steps"]], color=plots.BLUE, label="whole steps"
    )
    for layer, share in enumerate(figures["tokens_per_layer"]):
        axes.axhline(100 * share, color=plots.GREY, linestyle=("-", "--", ":")[layer % 3],
                     label=f"tokens of L{layer}")  # fmt: skip
    axes.set(ylim=(0, 100), xlabel="step of the chunk", ylabel="% of the draft's proposals")
    axes.set_title("The main head agrees", loc="left")
    axes.legend(frameon=False)
