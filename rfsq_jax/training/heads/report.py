"""The tables and plots of a heads run.

Axes: L layers · T steps of a chunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rfsq_jax.runs import plots
from rfsq_jax.runs.terminal import format_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What the reference's guides expected, as means over layers (specification, "published figures").
REFERENCE_TARGETS = {"main": "92-93 %", "draft": "91-92 %"}
COLOURS = {"main": plots.BLUE, "draft": plots.VERMILION}

Figures = dict[str, Any]


def accuracy_table(named: dict[str, Figures]) -> str:
    """One row per kind of tokens and predictor, one column per layer, and the mean at the end."""
    labels = {
        "main": "main",
        "main_given_true_coarse": "main, true L0-L2 given",
        "draft": "draft",
        "majority_level": "majority level of the layer",
        "majority_level_of_dim": "majority level of layer and dim",
    }
    rows, depth = [], 0
    for name, figures in named.items():
        accuracy = figures.get("accuracy", {})
        for key, label in labels.items():
            values = accuracy.get(key)
            if isinstance(values, list):
                depth = max(depth, len(values))
                rows.append([name, label, values])
    body = [
        [name, label, *_percent(values, depth), f"{np.mean(values):.1%}"]
        for name, label, values in rows
    ]
    return format_table(["tokens", "accuracy", *(f"L{i}" for i in range(depth)), "mean"], body)


def action_table(named: dict[str, Figures]) -> str:
    """Action errors of every head and estimate, in the units of the robot."""
    rows = []
    for name, figures in named.items():
        for estimate, errors in figures["actions"].items():
            rows.append(
                [
                    name,
                    estimate.replace("_", " "),
                    f"{errors['l1']:.4f}",
                    f"{errors['translation_mm']:.2f}",
                    f"{errors['rotation_deg']:.3f}",
                    f"{errors['gripper_f1']:.3f}",
                ]
            )
    return format_table(["heads", "estimate", "L1", "mm", "deg", "gripper F1"], rows)


def reference_note(figures: Figures) -> str:
    """The reference's targets beside ours, and what their means hide."""
    accuracy = figures["accuracy"]
    lines = []
    for head, target in REFERENCE_TARGETS.items():
        values = accuracy.get(head)
        if not isinstance(values, list):
            continue
        majority = accuracy["majority_level_of_dim"][: len(values)]
        lines.append(
            f"{head}: mean {np.mean(values):.1%} (the reference expected {target}); "
            f"always naming the majority level gives {np.mean(majority):.1%}; "
            f"layer by layer {min(values):.1%} to {max(values):.1%}"
        )
    return "\n".join(lines)


def plot(path: Path, name: str, figures: Figures) -> None:
    """Plots accuracy by layer over the majority rate, and how far draft and main agree."""
    figure, (accuracy, agreement) = plots.new_figure((11.0, 4.0), 2)
    _plot_accuracy(accuracy, f"Held-out token accuracy, {name}", figures["accuracy"])
    if "agreement" in figures:
        _plot_agreement(agreement, figures["agreement"])
    plots.save_figure(figure, path)


def plot_comparison(path: Path, named: dict[str, Figures]) -> None:
    """Plots token accuracy over the majority rate, one panel per run of token heads."""
    tokens = {
        name: figures["accuracy"]
        for name, figures in named.items()
        if isinstance(figures.get("accuracy", {}).get("main"), list)
    }
    panels = max(len(tokens), 1)
    figure, every = plots.new_figure((4.2 * panels, 3.8), panels)
    for axes, (name, accuracy) in zip(every, tokens.items(), strict=False):
        _plot_accuracy(axes, name, accuracy)
    plots.save_figure(figure, path)


def _plot_accuracy(axes: Axes, title: str, accuracy: dict[str, list[float]]) -> None:
    majority = 100 * np.asarray(accuracy["majority_level_of_dim"])
    axes.bar(range(len(majority)), majority, color=plots.GREY, label="majority level")
    for key in ("main", "draft"):
        if key in accuracy:
            values = 100 * np.asarray(accuracy[key])
            axes.plot(range(len(values)), values, "o-", color=COLOURS[key], label=key)
    axes.set(xlabel="residual layer", ylabel="tokens right (%)", ylim=(0, 100))
    axes.set_title(title)
    axes.legend(loc="lower right", framealpha=0.9)


def _plot_agreement(axes: Axes, agreement: dict[str, list[float]]) -> None:
    values = 100 * np.asarray(agreement["per_layer"])
    axes.bar([f"L{layer}" for layer in range(len(values))], values, color=COLOURS["draft"])
    axes.set(ylabel="tokens on which draft and main agree (%)", ylim=(0, 100))
    axes.set_title(f"Whole steps on which they agree: {np.mean(agreement['per_step']):.2%}")


def _percent(values: list[float], depth: int) -> list[str]:
    return [f"{value:.1%}" for value in values] + [""] * (depth - len(values))
