"""The tables of eval.compare, each figure beside what the reference's guides expected."""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.studies.contenders import NAIVE, STRATEGY_A, STRATEGY_B
from rfsq_jax.evaluation.results import success_rate
from rfsq_jax.runs.terminal import format_table

# Where centimetres are not enough: bowls that stand on something or in a drawer; cans 63 mm wide
# in a gripper that opens 80 mm; boxes 17 to 27 mm high, which the fingers must meet at the table.
FINE_GRAINED = {"libero_spatial": (3, 4, 5, 9), "libero_object": (0, 1, 5, 6, 8)}

# What the reference's guides printed. They are expectations: no evaluation log exists.
EXPECTED = {
    "mse": {NAIVE: "0.018", STRATEGY_A: "0.010"},
    "main": {NAIVE: "90.9 %", STRATEGY_A: "92-93 %"},
    "draft": {NAIVE: "89.7 %", STRATEGY_A: "91-92 %"},
    "success": {NAIVE: "87 %", STRATEGY_A: "92 %", STRATEGY_B: "89-90 %"},
    "fine": {NAIVE: "78 %", STRATEGY_A: "85-88 %"},
    "ms": {STRATEGY_A: "48"},
}

Figures = dict[str, Any]


def played_figures(run: Figures) -> Figures:
    """Success over all episodes and over the fine-grained tasks, and milliseconds of a chunk.

    Args:
      run: figures of eval.libero.
    """
    episodes = run["episodes"]
    fine = [e for e in episodes if e["task"] in FINE_GRAINED.get(e["suite"], ())]
    return {
        "all": success_rate([each["success"] for each in episodes]),
        "fine_grained": success_rate([each["success"] for each in fine]) if fine else None,
        "ms_per_chunk": 1e3 * run["time"]["policy"]["act"],
    }


def comparison(figures: dict[str, Figures]) -> str:
    """One row per contender; what guides expected stands in brackets."""
    header = ["", "MSE of tokens", "main", "draft", "L1", "mm", "success", "95 % interval",
              "fine-grained", "vs strategy A", "p", "ms"]  # fmt: skip
    rows = [[name, *_cells(name, each)] for name, each in figures.items()]
    legend = (
        "MSE of tokens: training targets there and back, normalised actions. main, draft: held-out "
        "tokens right, mean over layers. L1, mm: held-out action error. vs strategy A: paired "
        "difference of success in points, with its 95 % interval, and McNemar's p. [in brackets: "
        "what the reference's guides expected, never measured]"
    )
    return f"{format_table(header, rows)}\n\n{legend}"


def explanation(evidence: Figures) -> str:
    """Why strategy B does what it does."""
    same, chance = (
        " ".join(f"{share:.0%}" for share in evidence[name]) for name in ("same_codes", "by_chance")
    )
    swapped, mean = evidence["mse_of_swap"], evidence["mse_of_mean"]
    verdict = "worse than" if swapped >= mean else "better than"
    return (
        "Strategy B: the robust decoder reads codes that a naive encoder chose.\n"
        f"Codes on which the two tokenizers agree, by layer: {same}; by chance: {chance}.\n"
        f"Perfect naive codes through the robust decoder: MSE {swapped:.3g}, {verdict} always "
        f"playing the mean action ({mean:.3g})."
    )


def _cells(name: str, figures: Figures) -> list[str]:
    accuracy, played = figures.get("accuracy", {}), figures["played"]
    errors = figures["actions"][figures["point_estimate"]]
    low, high = played["all"]["interval"]
    fine, paired = played["fine_grained"], figures["against_strategy_a"]
    paired = paired["all"] if "all" in paired else next(iter(paired.values()))
    mse = figures.get("reconstruction", {}).get("mse")
    same = name == STRATEGY_A
    return [
        _with(name, "mse", "" if mse is None else f"{mse:.2e}"),
        _with(name, "main", _mean(accuracy.get("main"))),
        _with(name, "draft", _mean(accuracy.get("draft"))),
        f"{errors['l1']:.4f}",
        f"{errors['translation_mm']:.2f}",
        _with(name, "success", f"{played['all']['rate']:.1%}"),
        f"{low:.1%} to {high:.1%}",
        _with(name, "fine", "" if fine is None else f"{fine['rate']:.1%}"),
        "" if same else _points(paired),
        "" if same else f"{paired['p_value']:.2g}",
        _with(name, "ms", f"{played['ms_per_chunk']:.2f}"),
    ]


def _points(paired: Figures) -> str:
    low, high = paired["interval"]
    return f"{100 * paired['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _with(name: str, figure: str, value: str) -> str:
    expected = EXPECTED[figure].get(name)
    return value if expected is None else f"{value} [{expected}]"


def _mean(accuracy: float | list[float] | None) -> str:
    return "" if accuracy is None else f"{np.mean(accuracy):.1%}"
