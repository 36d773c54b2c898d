"""What a trained tokenizer is worth: figures, a table and a plot.

Axes: M chunks · T steps · A action dims · L layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float

from rfsq_jax import rfsq
from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.runs import plots
from rfsq_jax.runs.terminal import format_table
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.step import StepTokenizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The reference experiment's own acceptance gates (specification, "published figures").
MSE_GATE = 0.012
IMPROVEMENT_GATE = 0.30
DEAD_SHARE = 0.9

COLUMNS = {
    "translation_mm": "mm",
    "rotation_deg": "deg",
    "joint_deg": "joint deg",
    "other_error": "error",
    "gripper_flips": "gripper flips",
}
"""Errors in the units of the robot, of which a table has those that occur."""

Figures = dict[str, Any]


def measure(
    tokenizer: StepTokenizer,
    held_out: Float[np.ndarray, "m t a"],
    train: Float[np.ndarray, "n t a"],
) -> Figures:
    """Errors on held-out chunks, forward and from tokens, per prefix; health on training chunks."""
    space, layers = tokenizer.space, tokenizer.config.rfsq.num_layers
    tokens, forward = tokenizer.encode(held_out), _forward(tokenizer, held_out)
    decoded = [tokenizer.decode(tokens, num_layers=depth) for depth in range(1, layers + 1)]
    return {
        "forward": reconstruction_errors(held_out, forward, space),
        "from_tokens": reconstruction_errors(held_out, decoded[-1], space),
        "largest_difference": float(np.abs(forward - decoded[-1]).max()),
        "prefixes": [reconstruction_errors(held_out, part, space) for part in decoded],
        "without_quantizer": reconstruction_errors(
            held_out, _forward(tokenizer, held_out, quantized=False), space
        ),
        "health": _health(tokenizer, train),
    }


def gates(figures: Figures, baseline: Figures | None) -> dict[str, bool]:
    """The reference's gates, and the properties that tokens are built on."""
    mse = figures["from_tokens"]["mse"]
    passed = {
        f"held-out MSE below {MSE_GATE}": mse < MSE_GATE,
        "tokens decode to exactly the forward values": figures["largest_difference"] == 0.0,
        "every layer alive": all(figures["health"]["alive"]),
    }
    if baseline is not None:
        gain = 1.0 - mse / baseline["from_tokens"]["mse"]
        passed[f"more than {IMPROVEMENT_GATE:.0%} below the baseline"] = gain > IMPROVEMENT_GATE
    return passed


def table(named: dict[str, Figures]) -> str:
    """One row per tokenizer and prefix, in the units of the robot."""
    first = next(iter(named.values()))["from_tokens"]
    columns = [name for name in COLUMNS if name in first]
    rows = []
    for tokenizer, figures in named.items():
        for depth, errors in enumerate(figures["prefixes"], start=1):
            health = figures["health"]
            rows.append(
                [
                    tokenizer if depth == 1 else "",
                    str(depth),
                    f"{errors['mse']:.2e}",
                    *(_cell(name, errors[name]) for name in columns),
                    f"{health['residual_std'][depth - 1]:.1e}",
                    f"{health['perplexity'][depth - 1]:.2f}",
                    "yes" if health["alive"][depth - 1] else "no",
                ]
            )
    header = ["tokenizer", "layers", "MSE", *(COLUMNS[name] for name in columns)]
    return format_table([*header, "layer's residual", "its perplexity", "alive"], rows)


def plot(
    path: Path,
    named: dict[str, Figures],
    tokenizers: dict[str, StepTokenizer],
    episode: Float[np.ndarray, "n a"],
) -> None:
    """Plots layer use, error by prefix, and a held-out episode beside what its tokens give."""
    figure, (perplexity, prefixes, first, last) = plots.new_figure((11.0, 7.2), 2, 2)
    colours: dict[str, str] = dict(zip(named, (plots.BLUE, plots.VERMILION), strict=False))
    _plot_perplexity(perplexity, named, colours)
    _plot_prefixes(prefixes, named, colours)
    names = next(iter(tokenizers.values())).space.spec.names
    moving = [dim for dim, name in enumerate(names) if not name.startswith("gripper")]
    for axes, dim in ((first, moving[0]), (last, moving[-1])):
        _plot_episode(axes, dim, f"{names[dim]} (robot units)", tokenizers, colours, episode)
    plots.save_figure(figure, path)


def _cell(name: str, error: float) -> str:
    if name == "gripper_flips":
        return f"{error:.2%}"
    return f"{error:.4f}" if name == "rotation_deg" else f"{error:.3f}"


def _forward(
    tokenizer: StepTokenizer, actions: Float[np.ndarray, "m t a"], quantized: bool = True
) -> Float[np.ndarray, "m t a"]:
    config, params, state = tokenizer.config, tokenizer.params, tokenizer.state
    values = tokenizer.normalization.normalize(actions)
    if quantized:
        restored = autoencoder.forward(config, params, state, values)
    else:
        restored = autoencoder.bind(config, params).decode(
            autoencoder.latents(config, params, values)
        )
    return tokenizer.normalization.denormalize(np.asarray(restored))


def _health(tokenizer: StepTokenizer, actions: Float[np.ndarray, "n t a"]) -> Figures:
    config, params, state = tokenizer.config, tokenizer.params, tokenizer.state
    latents = autoencoder.latents(config, params, tokenizer.normalization.normalize(actions))
    fixed = autoencoder.constants(config, params, state)
    health = jax.device_get(rfsq.health(config.rfsq, fixed, latents))
    return health._asdict() | {"alive": (health.histogram.max(axis=-1) <= DEAD_SHARE).tolist()}


def _plot_perplexity(axes: Axes, named: dict[str, Figures], colours: dict[str, str]) -> None:
    width = 0.8 / len(named)
    for index, (name, figures) in enumerate(named.items()):
        perplexity = np.asarray(figures["health"]["perplexity"])
        positions = np.arange(len(perplexity)) + (index - (len(named) - 1) / 2) * width
        axes.bar(positions, perplexity, width, color=colours[name], label=name)
    axes.axhline(1.0, color=plots.DARK, lw=0.8, ls=":")
    axes.set(xlabel="residual layer", ylabel="levels in use (perplexity)")
    axes.set_title("What each layer carries (1 = nothing)")
    axes.legend(frameon=False)


def _plot_prefixes(axes: Axes, named: dict[str, Figures], colours: dict[str, str]) -> None:
    for name, figures in named.items():
        errors = [prefix["mse"] for prefix in figures["prefixes"]]
        axes.semilogy(range(1, len(errors) + 1), errors, "o-", color=colours[name], label=name)
    axes.set(xlabel="layers decoded", ylabel="held-out MSE (normalised)")
    axes.set_title("Actions decoded from the first layers' tokens")
    axes.legend(frameon=False)


def _plot_episode(
    axes: Axes,
    dim: int,
    label: str,
    tokenizers: dict[str, StepTokenizer],
    colours: dict[str, str],
    episode: Float[np.ndarray, "n a"],
) -> None:
    for name, tokenizer in tokenizers.items():
        horizon = tokenizer.horizon
        whole = len(episode) // horizon * horizon
        chunks = episode[:whole].reshape(-1, horizon, episode.shape[-1])
        back = tokenizer.decode(tokenizer.encode(chunks)).reshape(whole, -1)
        axes.plot(back[:, dim], color=colours[name], lw=1.6, label=f"{name}, from tokens")
    axes.plot(episode[:, dim], color=plots.DARK, lw=0.9, ls="--", label="held-out episode")
    axes.set(xlabel="step (20 Hz)", ylabel=label)
    axes.set_title("A held-out episode and what comes back from its tokens")
    axes.legend(frameon=False, fontsize=8)
