"""What is killed, how its folder must look at any moment, and what it must come to."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rfsq_jax.evaluation.log import EpisodeLog, read_actions
from rfsq_jax.features.manifest import MANIFEST
from rfsq_jax.features.shards import DESCRIPTION, check_shard
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.policies.files import load_policy
from rfsq_jax.runs.json_files import read_json
from rfsq_jax.runs.line_files import DamagedLineWarning
from rfsq_jax.runs.results import RESULTS, read_results
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.training.checkpoint_files import check_files
from tests.support.features import demonstrations

LOOP = (
    "--training.batch-size=8",
    "--training.loop.steps=80",
    "--training.loop.steps-per-call=5",
    "--training.loop.evaluate-every=10",
)
SMALL = (
    *("--training.model.main.num-blocks=1", "--training.model.main.width=16"),
    "--training.model.main.num-heads=2",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """A command that is killed again and again.

    Attributes:
      name: in tables.
      arguments: of Python, without the output; a function of the folder that `prepare` filled.
      check: raises unless everything in an output folder is whole.
      result: what must be the same at the end, however often it was killed.
      prepare: fills a folder with what the command reads.
      workers: whether worker processes are killed, and not the command.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    check: Callable[[Path], None]
    result: Callable[[Path], Any]
    prepare: Callable[[Path], object] = lambda folder: None
    workers: bool = False


def tree(folder: Path) -> dict[str, str]:
    """The hash of every file of a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _check_run(output: Path) -> None:
    for path in output.glob("*.json"):
        read_json(path)
    if (output / RESULTS).exists():
        read_results(output / RESULTS)
    check_files(output / "checkpoints")


def _check_ae(output: Path) -> None:
    _check_run(output)
    if (output / "tokenizer").exists():
        ActionTokenizer.from_pretrained(output / "tokenizer")


def _check_heads(output: Path) -> None:
    _check_run(output)
    if (output / "policy").exists():
        load_policy(output / "policy")


def _check_features(output: Path) -> None:
    _check_run(output)
    for shard in output.glob("shard-*"):
        assert (shard / DESCRIPTION).exists()
        check_shard(shard, contents=True)
    if (output / MANIFEST).exists():
        FeatureStore.open(output)


def _check_episodes(output: Path) -> None:
    _check_run(output)
    path = output / "episodes.jsonl"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DamagedLineWarning)
        records = EpisodeLog(path).records.values()
    # Only the line that was being written when the command died.
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    assert len(said) == torn, [str(each.message) for each in said]
    for record in records:
        read_actions(output, record)


def _episodes(output: Path) -> list[Any]:
    rows = read_results(output / RESULTS)["figures"]["episodes"]
    kept = ("suite", "task", "trial", "success", "steps", "chunks", "actions_sha256")
    return [[row[name] for name in kept] for row in rows]


def _figures(output: Path) -> Any:
    return read_results(output / RESULTS)["figures"]


def _features(folder: Path) -> list[str]:
    return [
        *("-m", "train.features", f"--images={folder / 'demos'}", "--episodes=None", "--stride=1"),
        *("--held-out=0.3", "--batch-size=4", "--episodes-per-shard=1"),
    ]


def _prepare_heads(folder: Path) -> None:
    demonstrations(folder / "demos")
    command = [sys.executable, *_features(folder), f"--output={folder / 'features'}"]
    subprocess.run(command, check=True, capture_output=True)


def _libero(folder: Path) -> list[str]:
    return [
        *("-m", "eval.libero", "--suite", "libero_spatial", "--tasks", "0", "1", "--trials", "2"),
        *("--step-limit", "16", "--video", "none"),
    ]


SCENARIOS = (
    Scenario(
        name="save",
        arguments=lambda folder: ["-m", "tests.kills.saving"],
        check=lambda output: _check_ae(output),
        result=lambda output: ActionTokenizer.from_pretrained(output / "tokenizer").version,
    ),
    Scenario(
        name="train.ae",
        arguments=lambda folder: [
            *("-m", "train.ae", "--config", "configs/robust.py", "--suites=libero_object"),
            *("--against=None", *LOOP),
        ],
        check=_check_ae,
        result=lambda output: [_figures(output), tree(output / "tokenizer")],
    ),
    Scenario(
        name="train.features",
        arguments=_features,
        check=_check_features,
        result=lambda output: [
            tree(each) if each.is_dir() else read_json(each)
            for each in sorted([*output.glob("shard-*"), output / MANIFEST])
        ],
        prepare=lambda folder: demonstrations(folder / "demos"),
    ),
    Scenario(
        name="train.heads",
        arguments=lambda folder: [
            *("-m", "train.heads", *LOOP, *SMALL),
            f"--features.output={folder / 'features'}",
        ],
        check=_check_heads,
        result=lambda output: [_figures(output), tree(output / "policy")],
        prepare=_prepare_heads,
    ),
    Scenario(
        name="eval.libero",
        arguments=_libero,
        check=_check_episodes,
        result=_episodes,
    ),
    Scenario(
        name="eval.libero, workers",
        arguments=_libero,
        check=_check_episodes,
        result=_episodes,
        workers=True,
    ),
)
