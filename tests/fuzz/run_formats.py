"""What runs leave in their folders: logs, curves, options, results, actions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from eval.failures import read_failures
from eval.heads import HeadsComparison, read_runs
from rfsq_jax.evaluation.analysis.pairs import compare_runs, read_run
from rfsq_jax.evaluation.log import EpisodeLog, digest, read_actions, write_actions
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Trial
from rfsq_jax.evaluation.report.page import write_report
from rfsq_jax.runs.claims import claim_folder
from rfsq_jax.runs.descriptions import sealed
from rfsq_jax.runs.json_files import write_json
from rfsq_jax.training.metrics import FileWriter
from tests.fuzz.registry import Format
from tests.support.evaluation import record_of
from tests.support.reports import sample_results


def _make_log(folder: Path, seed: int) -> None:
    log = EpisodeLog(folder / "episodes.jsonl")
    for number in range(5):
        log.append(record_of(Trial("libero_goal", seed, number), success=number % 2 == seed))


def _load_log(folder: Path) -> list[Any]:
    records = EpisodeLog(folder / "episodes.jsonl").records
    return [records[key] for key in sorted(records, key=repr)]


def _make_metrics(folder: Path, seed: int) -> None:
    with FileWriter(folder, 0) as writer:
        for step in range(8):
            writer.write(step, {"loss": 1 / (step + 1 + seed), "rate": 0.5})
    # Curves for people; nobody reads them back.
    shutil.rmtree(folder / "tensorboard")


def _load_metrics(folder: Path) -> list[str]:
    with FileWriter(folder, 5) as writer:
        writer.write(6, {"loss": 0.1})
    return (folder / "metrics.jsonl").read_text().splitlines()


def _identity(seed: int) -> dict[str, Any]:
    return {"suite": ["libero_goal"], "seed": seed, "share": 0.5, "model": {"width": 8, "on": True}}


def _make_claim(folder: Path, seed: int) -> None:
    claim_folder(folder, _identity(seed))


def _load_claim(folder: Path) -> str:
    claim_folder(folder, _identity(0))
    return "claimed"


def _results(seed: int) -> dict[str, Any]:
    results = sample_results(trials=2 + seed)
    results["figures"]["protocol"] = _protocol(seed)
    return results


def _protocol(seed: int) -> dict[str, Any]:
    fields = EvaluationProtocol(execute=8, seed=seed)
    return {name: getattr(fields, name) for name in fields.__dataclass_fields__}


def _make_results(folder: Path, seed: int) -> None:
    write_json(folder / "results.json", sealed(_results(seed)))


def _load_pair(folder: Path) -> list[Any]:
    run = read_run(folder)
    return [run, compare_runs(run, run)]


def _load_report(folder: Path) -> str:
    return write_report(folder).read_text()


def _make_failures(folder: Path, seed: int) -> None:
    _make_results(folder, seed)
    _make_log(folder, seed)


def _make_heads(folder: Path, seed: int) -> None:
    figures = {"accuracy": {"main": [0.5 + seed / 4, 0.25]}, "actions": {"mse": 0.01}}
    config = {"features": {"output": "runs/features/small"}, "seed": seed}
    for name in ("one", "two"):
        results = sealed({"figures": figures, "config": config})
        write_json(folder / name / "results.json", results)


def _load_heads(folder: Path) -> dict[str, Any]:
    return read_runs(HeadsComparison(runs=(folder / "one", folder / "two")))


def _make_actions(folder: Path, seed: int) -> None:
    log = EpisodeLog(folder / "episodes.jsonl")
    for number in range(2):
        rng = np.random.default_rng([seed, number])
        actions = rng.uniform(-1, 1, (9, 7)).astype(np.float32)
        trial = Trial("libero_goal", 3, number)
        write_actions(folder, trial, actions)
        log.append(record_of(trial, actions_sha256=digest(actions)))


def _load_actions(folder: Path) -> list[np.ndarray]:
    records = EpisodeLog(folder / "episodes.jsonl").records
    return [read_actions(folder, records[key]) for key in sorted(records, key=repr)]


FORMATS = (
    Format(
        name="episodes-log",
        make=_make_log,
        load=_load_log,
        covered="*",
        is_log=True,
        promise="Each line has a checksum; a damaged one is named, and the others are kept.",
    ),
    Format(
        name="metrics-log",
        make=_make_metrics,
        load=_load_metrics,
        must_load=True,
        promise="Only a curve: whatever is in it, training resumes.",
    ),
    Format(
        name="run-options",
        make=_make_claim,
        load=_load_claim,
        promise="A run goes on in a folder only if its config.json holds the same options.",
    ),
    *(
        Format(
            name=f"results-{name}",
            make=make,
            load=load,
            covered="*results.json",
            exchange_noticed=False,
            promise="The figures are those that were written: the file has a hash over itself.",
        )
        for name, make, load in (
            ("pair", _make_results, _load_pair),
            ("report", _make_results, _load_report),
            ("failures", _make_failures, read_failures),
            ("heads", _make_heads, _load_heads),
        )
    ),
    Format(
        name="episode-actions",
        make=_make_actions,
        load=_load_actions,
        covered="actions/*",
        promise="The actions are those that the log holds the hash of, or are refused.",
    ),
)
