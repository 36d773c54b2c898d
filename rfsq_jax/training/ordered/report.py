"""What ordered tokens are worth beside others: a table and a picture.

Axes: B held-out chunks · T steps of a chunk · A action dims · N steps of an episode.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs import plots
from rfsq_jax.runs.results import without_nan
from rfsq_jax.runs.terminal import format_table
from rfsq_jax.tokenizers import ActionTokenizer, rates
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.rates import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAST_STRIDE = 4
"""FAST's merges are learned from every fourth chunk; its neighbours hold the same steps."""
SHOWN_PREFIXES = (2, 5, 9)
"""Ids whose actions are drawn over an episode, the gripper's among them."""
UNITS = {"translation_mm": "mm", "rotation_deg": "deg", "joint_deg": "joint deg"}


@dataclasses.dataclass(frozen=True)
class Curves:
    """Error against bits on held-out chunks.

    Attributes:
      fixed: all chunks at one length, for each that decodes.
      cut: each chunk at its own prefix; empty where none decodes.
    """

    fixed: list[Point]
    cut: list[Point]


def others(
    space: ActionSpace, chunks: Float[np.ndarray, "b t a"], fast_scales: Sequence[float]
) -> Iterator[tuple[str, ActionTokenizer]]:
    """Yields what a user would pick instead, fitted to the same chunks."""
    yield "256 bins", BinTokenizer.fit_chunks(space, chunks)
    for scale in fast_scales:
        options = {"scale": scale, "clip_coefficients": True}
        yield (
            f"FAST, scale {scale:g}",
            FastTokenizer.fit_chunks(space, chunks[::FAST_STRIDE], **options),
        )


def measure(
    tokenizer: ActionTokenizer, chunks: Float[np.ndarray, "b t a"], space: ActionSpace
) -> Curves:
    """Curves of one tokenizer, in the units of the space's normalisation."""
    errors = rates.prefix_errors(tokenizer, tokenizer.encode_chunks(chunks), chunks, space)
    cut = rates.cut_curve(errors) if len(tokenizer.prefix_lengths) > 1 else []
    return Curves(rates.fixed_curve(errors), cut)


def beside_fast(curves: Mapping[str, Curves], name: str) -> dict[str, list[float]]:
    """How many times FAST's error is that of a tokenizer, at the mean bits of each FAST."""
    points = sorted(
        (each.fixed[0].bits, each.fixed[0].mse)
        for other, each in curves.items()
        if other.startswith("FAST")
    )
    ours = curves[name]
    return {
        "bits": [bits for bits, _ in points],
        "fast_mse": [mse for _, mse in points],
        "fixed": rates.ratios(points, rates.curve_of(ours.fixed)),
        "cut": rates.ratios(points, rates.curve_of(ours.cut)),
    }


def figures(curves: Mapping[str, Curves], name: str) -> dict[str, Any]:
    """All that was measured, for results.json."""
    measured = {key: dataclasses.asdict(each) for key, each in curves.items()}
    # Where FAST takes more bits than our curve reaches, there is no figure.
    return {
        "curves": measured,
        "fast_error_over_ours": without_nan(beside_fast(curves, name)),
    }


def table(curves: Mapping[str, Curves], name: str) -> str:
    """One row per tokenizer, and one per prefix of the one that this is about."""
    first = next(iter(curves.values())).fixed[0].errors
    units = [unit for unit in UNITS if unit in first]
    rows = []
    for key, each in curves.items():
        points = each.fixed if key == name else each.fixed[-1:]
        for index, point in enumerate(points):
            errors = [f"{point.errors[unit]:.3f}" for unit in units]
            flips = f"{point.errors['gripper_flips']:.2%}" if "gripper_flips" in first else "-"
            label = key if index == 0 else ""
            cells = [label, f"{point.tokens:.4g}", f"{point.bits:.0f}", f"{point.mse:.2e}"]
            rows.append([*cells, *errors, flips])
    header = ["tokenizer", "tokens", "bits", "MSE", *(UNITS[unit] for unit in units)]
    return format_table([*header, "gripper flips"], rows)


def ratio_table(curves: Mapping[str, Curves], name: str) -> str:
    """FAST's error over ours at equal bits, where ours reaches that far."""
    found = beside_fast(curves, name)
    rows = [
        [f"{bits:.0f}", f"{mse:.2e}", *(f"{found[kind][index]:.2f}" for kind in ("fixed", "cut"))]
        for index, (bits, mse) in enumerate(zip(found["bits"], found["fast_mse"], strict=True))
    ]
    header = ["FAST's mean bits", "its MSE", "over ours, fixed length", "cut per chunk"]
    return format_table(header, rows)


def plot(
    path: Path,
    curves: Mapping[str, Curves],
    name: str,
    tokenizer: ActionTokenizer,
    episode: Float[np.ndarray, "n a"],
) -> None:
    """Draws error against bits beside the others, in robot units, and an episode by prefix."""
    figure, (rate, units, first, last) = plots.new_figure((11.0, 7.2), 2, 2)
    _plot_rates(rate, curves, name)
    _plot_units(units, curves[name])
    names = tokenizer.space.spec.names
    moving = [dim for dim, each in enumerate(names) if not each.startswith("gripper")]
    for axes, dim in ((first, moving[0]), (last, moving[-1])):
        _plot_episode(axes, dim, f"{names[dim]} (robot units)", tokenizer, episode)
    plots.save_figure(figure, path)


def _plot_rates(axes: Axes, curves: Mapping[str, Curves], name: str) -> None:
    ours = curves[name]
    _line(axes, ours.fixed[1:], "o-", plots.BLUE, f"{name}, fixed length")
    _line(axes, ours.cut, "-", plots.SKY, f"{name}, each chunk cut at its own prefix")
    fast = [each.fixed[0] for key, each in curves.items() if key.startswith("FAST")]
    _line(axes, sorted(fast, key=lambda point: point.bits), "^-", plots.ORANGE, "FAST, mean bits")
    marks = {"256 bins": ("s", plots.BLACK), "naive": ("X-", plots.GREY)}
    for key, each in curves.items():
        if key != name and not key.startswith("FAST"):
            style, colour = marks.get(key, ("D-", plots.GREEN))
            _line(axes, each.fixed, style, colour, key)
    axes.set(xscale="log", yscale="log", xlabel="bits per chunk", ylabel="held-out MSE, normalised")
    axes.set_title("Error at equal bits")
    axes.legend(frameon=False, fontsize=8)


def _plot_units(axes: Axes, ours: Curves) -> None:
    colours = (plots.BLUE, plots.VERMILION, plots.GREEN)
    points = ours.fixed[1:]
    units = [unit for unit in UNITS if unit in points[0].errors]
    for unit, colour in zip(units, colours, strict=False):
        label = f"{unit.rsplit('_', 1)[0]} ({UNITS[unit].split()[-1]})"
        axes.semilogy(
            [point.tokens for point in points],
            [point.errors[unit] for point in points],
            "o-",
            color=colour,
            label=label,
        )
    axes.set(xlabel="tokens decoded", ylabel="mean error per step")
    axes.set_title("Every prefix decodes")
    if units:
        axes.legend(frameon=False)


def _plot_episode(
    axes: Axes,
    dim: int,
    label: str,
    tokenizer: ActionTokenizer,
    episode: Float[np.ndarray, "n a"],
) -> None:
    horizon = tokenizer.horizon
    whole = len(episode) // horizon * horizon
    chunks = episode[:whole].reshape(-1, horizon, episode.shape[-1])
    tokens = tokenizer.encode_chunks(chunks)
    known = [length for length in SHOWN_PREFIXES if length in tokenizer.prefix_lengths]
    for length, colour in zip(known, (plots.GREY, plots.SKY, plots.BLUE), strict=False):
        back = tokenizer.decode_prefix(tokens, length).reshape(whole, -1)
        axes.plot(back[:, dim], color=colour, lw=1.5, label=f"from {length} tokens")
    axes.plot(episode[:whole, dim], color=plots.DARK, lw=0.9, ls="--", label="held-out episode")
    axes.set(xlabel="step", ylabel=label)
    axes.set_title("A held-out episode, coarse to fine")
    axes.legend(frameon=False, fontsize=8)


def _line(axes: Axes, points: Sequence[Point], style: str, colour: str, label: str) -> None:
    bits, mse = [point.bits for point in points], [point.mse for point in points]
    axes.plot(bits, mse, style, color=colour, label=label, markersize=5, linewidth=1.5)
