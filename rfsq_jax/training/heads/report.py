"""The tables and pictures of a heads run.

Axes: L layers · T steps of a chunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.runs.files import primary_path
from rfsq_jax.runs.tables import format_table

# What the reference's guides expected, as means over layers (specification, "published figures").
REFERENCE_TARGETS = {"main": "92-93 %", "draft": "91-92 %"}
COLOURS = {"main": "#0072B2", "draft": "#D55E00", "majority": "#999999", "truth": "#333333"}

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


def picture(path: Path, name: str, figures: Figures) -> None:
    """Draws accuracy by layer over the majority rate, and how far draft and main agree."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    accuracy = figures["accuracy"]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    _draw_accuracy(axes[0], accuracy)
    axes[0].set_title(f"Held-out token accuracy, {name}")
    if "agreement" in figures:
        _draw_agreement(axes[1], figures["agreement"])
    for axis in axes:
        _tidy(axis)
    with primary_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def comparison_picture(path: Path, named: dict[str, Figures]) -> None:
    """Draws token accuracy over the majority rate, one panel per run of token heads."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tokens = {
        name: figures["accuracy"]
        for name, figures in named.items()
        if isinstance(figures.get("accuracy", {}).get("main"), list)
    }
    panels = max(len(tokens), 1)
    figure, axes = pyplot.subplots(
        1, panels, figsize=(4.2 * panels, 3.8), constrained_layout=True, squeeze=False
    )
    for axis, (name, accuracy) in zip(axes[0], tokens.items(), strict=False):
        _draw_accuracy(axis, accuracy)
        axis.set_title(name)
        _tidy(axis)
    with primary_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def _draw_agreement(axis: Any, agreement: dict[str, list[float]]) -> None:
    values = 100 * np.asarray(agreement["per_layer"])
    axis.bar([f"L{layer}" for layer in range(len(values))], values, color=COLOURS["draft"])
    axis.set(ylabel="tokens on which draft and main agree (%)", ylim=(0, 100))
    axis.set_title(f"Whole steps on which they agree: {np.mean(agreement['per_step']):.2%}")


def _tidy(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


def _draw_accuracy(axis: Any, accuracy: dict[str, list[float]]) -> None:
    majority = 100 * np.asarray(accuracy["majority_level_of_dim"])
    axis.bar(range(len(majority)), majority, color=COLOURS["majority"], label="majority level")
    for key in ("main", "draft"):
        if key in accuracy:
            values = 100 * np.asarray(accuracy[key])
            axis.plot(range(len(values)), values, "o-", color=COLOURS[key], label=key)
    axis.set(xlabel="residual layer", ylabel="tokens right (%)", ylim=(0, 100))
    axis.legend(loc="lower right", framealpha=0.9)


def _percent(values: list[float], depth: int) -> list[str]:
    return [f"{value:.1%}" for value in values] + [""] * (depth - len(values))
