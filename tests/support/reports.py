"""results.json of a run that never was, made by the functions that make the true one."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from rfsq_jax.evaluation.log import Record
from rfsq_jax.evaluation.protocol import EvaluationProtocol, deviations
from rfsq_jax.evaluation.report.page import data_uri
from rfsq_jax.evaluation.results import episode_rows, suite_figures, time_figures
from rfsq_jax.libero.tasks import tasks

SUITES = ("libero_object", "libero_spatial_swap")
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def record(suite: str, task: int, trial: int, success: bool) -> Record:
    """An episode with films."""
    stem = f"videos/{suite}-task{task:02d}-trial{trial:02d}"
    return Record(
        suite=suite,
        task=task,
        trial=trial,
        success=success,
        steps=80 + trial,
        chunks=11,
        seed=0,
        initial_state=trial,
        placement_seed=None,
        actions_sha256="0" * 64,
        seconds={
            "render": 3.3,
            "physics": 1.1,
            "policy": 0.6,
            "reset": 0.2,
            "build": 9,
            "total": 6,
        },
        worker_mib=2000.5,
        video=f"{stem}.mp4",
        filmstrip=f"{stem}.jpg",
    )


def sample_results(trials: int = 4) -> dict[str, Any]:
    """Two suites of three tasks; task t fails in its first t trials of four."""
    chosen = [task for suite in SUITES for task in tasks(suite)[:3]]
    records = [
        record(task.suite, task.index, n, n % 4 >= task.index)
        for task in chosen
        for n in range(trials)
    ]
    protocol = EvaluationProtocol(execute=8)
    seconds = {"preprocess": 0.001, "backbone": 0.03, "heads": 0.004, "decode": 0.002, "act": 0.04}
    figures = {
        "policy": {"name": "small", "backbone": "small", "kind": "tokens", "mode": "greedy",
                   "blind": False, "sha256": "ab" * 32},
        "protocol": {"execute": 8, "step_limit": None},
        "deviations": deviations(protocol, trials, True),
        "simulator": {"versions": {"mujoco": "3.3.2"}, "opengl": "egl", "renderer": "llvmpipe"},
        "batch": 2,
        "warnings": ["robosuite 9 has other controllers"],
        "suites": suite_figures(records, chosen),
        "errors": [],
        "time": time_figures(records) | {"policy": seconds},
        "draft": {"questions": 48, "tokens_per_layer": [0.75, 0.5], "steps": [0.5, 0.25],
                  "whole_chunks": 0.125, "would_exit": 0.625},
        "episodes": episode_rows(records),
    }  # fmt: skip
    return {
        "figures": figures,
        "config": {"policy": "small", "suite": list(SUITES), "tasks": [0, 1, 2]},
        "command": ["libero.py", "--tasks", "0", "1", "2", "--output", "runs/two words"],
        "finished": "2026-11-23T05:12:25+00:00",
        "versions": {"python": "3.11.7"},
        "machine": {"system": "Linux", "cores": 2},
    }


def sample_strips(results: dict[str, Any]) -> dict[str, str]:
    """A filmstrip for every episode."""
    stream = io.BytesIO()
    Image.new("RGB", (1024, 128), "teal").save(stream, "JPEG")
    address = data_uri(stream.getvalue())
    assert base64.b64decode(address.partition(",")[2]) == stream.getvalue()
    return {each["filmstrip"]: address for each in results["figures"]["episodes"]}


def with_errors(results: dict[str, Any]) -> dict[str, Any]:
    """The same run, had an episode ended in errors."""
    known = {key: value for key, value in results["figures"].items()
             if key not in ("time", "draft", "episodes")}  # fmt: skip
    reasons = [f"Traceback ...\nValueError: {EVIL}"] * 2
    errors = [{"trial": [SUITES[0], 1, 2], "reasons": reasons}]
    return {**results, "figures": {**known, "suites": None, "errors": errors}}
