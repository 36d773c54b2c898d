"""Timings of OpenVLA as figures and as a table, beside what the device could do at most."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from eval.benchmarks.device_peaks import PEAKS, Cost, Peak, limit_seconds
from eval.benchmarks.openvla.cost import passes
from eval.benchmarks.openvla.programs import WHOLE
from eval.benchmarks.timing import Spread, ratio
from rfsq_jax.runs.terminal import format_table

PREPROCESS, TORCH = "preprocess", "PyTorch"
HEADER = ("", "ms", "GFLOP", "TFLOP/s", "MFU", "limit, ms", "of the limit")


def part_figures(seconds: list[float], costs: list[Cost], peak: Peak | None) -> dict[str, Any]:
    """Time, work and, where the device's peaks are known, the shares of them.

    Args:
      seconds: of a call, per round.
      costs: what a call must do, pass by pass.
      peak: of the device, for the dtype; None if unknown.
    """
    flops, spread = sum(cost.flops for cost in costs), Spread.of(seconds)
    figures: dict[str, Any] = {
        "seconds": dataclasses.asdict(spread),
        "flops": flops,
        "bytes": sum(cost.bytes for cost in costs),
        "flops_per_second": flops / spread.median,
    }
    if peak is None:
        return figures
    limit = limit_seconds(costs, peak)
    return figures | {
        "mfu": flops / spread.median / peak.flops,
        "limit_seconds": limit,
        "fraction_of_limit": limit / spread.median,
    }


def timing_figures(
    seconds: dict[str, list[float]], parts: dict[str, Cost], peak: Peak | None
) -> dict[str, Any]:
    """Figures of the whole and of each part, and of PyTorch against the whole."""
    figures: dict[str, Any] = {
        "parts": {
            name: part_figures(values, passes(parts) if name == WHOLE else [parts[name]], peak)
            for name, values in seconds.items()
            if name not in (PREPROCESS, TORCH)
        }
    }
    if PREPROCESS in seconds:
        figures["preprocess_seconds"] = dataclasses.asdict(Spread.of(seconds[PREPROCESS]))
    if TORCH in seconds:
        figures["torch"] = part_figures(seconds[TORCH], passes(parts), peak) | {
            "time_over_ours": dataclasses.asdict(ratio(seconds[TORCH], seconds[WHOLE]))
        }
    return figures


def rates(seconds: float, batch: int, positions: int, numbers: int) -> dict[str, float]:
    """Samples, positions of their sequences, and tokens or numbers of actions per second."""
    return {
        "samples_per_second": batch / seconds,
        "positions_per_second": batch * positions / seconds,
        "action_tokens_per_second": batch * numbers / seconds,
    }


def device_peak(dtype: str) -> Peak | None:
    """The peaks of the device that JAX uses, where they are known for the dtype."""
    return PEAKS.get(jax.devices()[0].device_kind) if dtype == "bfloat16" else None


def memory_figures(analysis: Any) -> dict[str, int | None]:
    """Bytes of the compiled whole, and the most that the device ever held."""
    stats = jax.devices()[0].memory_stats()
    return {
        "argument_bytes": analysis.argument_size_in_bytes,
        "temporary_bytes": analysis.temp_size_in_bytes,
        "output_bytes": analysis.output_size_in_bytes,
        "peak_bytes_of_the_process": stats["peak_bytes_in_use"] if stats else None,
    }


def model_table(name: str, figures: dict[str, Any]) -> str:
    """One model's table and what stands below it."""
    rows = [_row(part, each) for part, each in figures["parts"].items()]
    if "preprocess_seconds" in figures:
        rows.append([PREPROCESS, _milliseconds(figures["preprocess_seconds"]), *["-"] * 5])
    if "torch" in figures:
        rows.append(_row(f"{TORCH}, {figures['torch']['mode']}", figures["torch"]))
    memory, compiling = figures["memory"], figures["compile_seconds"]
    used = sum(memory[f"{kind}_bytes"] for kind in ("argument", "temporary", "output"))
    per_second = figures["rates"]
    lines = [
        format_table([name, *HEADER[1:]], rows),
        f"{per_second['positions_per_second']:,.0f} tokens/s of the sequence, "
        f"{per_second['action_tokens_per_second']:,.1f} of actions; "
        f"compiled in {compiling[WHOLE]:.1f} s; {used / 1e9:.2f} GB",
    ]
    if "torch" in figures:
        lines.append(f"{TORCH} takes {Spread(**figures['torch']['time_over_ours'])} times as long")
    return "\n".join(lines)


def _row(name: str, figures: dict[str, Any]) -> list[str]:
    known = "mfu" in figures
    return [
        name,
        _milliseconds(figures["seconds"]),
        f"{figures['flops'] / 1e9:.4g}",
        f"{figures['flops_per_second'] / 1e12:.3g}",
        f"{100 * figures['mfu']:.1f} %" if known else "?",
        f"{1e3 * figures['limit_seconds']:.3g}" if known else "?",
        f"{100 * figures['fraction_of_limit']:.1f} %" if known else "?",
    ]


def _milliseconds(seconds: dict[str, float]) -> str:
    return str(Spread(**{key: 1e3 * value for key, value in seconds.items()}))
