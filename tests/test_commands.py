"""All commands fail alike: a user's mistake is one line and code 2."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from rfsq_jax.runs.claims import hold_folder
from tests.support.commands import refusal

ROOT = Path(__file__).parents[1]
NOTHING = "no/such/folder"
MISTAKES = {
    "eval.backbones": ["--placements", "0"],
    "eval.compare": ["--naive", NOTHING],
    "eval.decoding": ["--policy", NOTHING],
    "eval.failures": [NOTHING],
    "eval.heads": ["--runs", NOTHING],
    "eval.libero": ["--policy", NOTHING],
    "eval.libero_pair": [NOTHING, NOTHING],
    "eval.libero_speed": ["--policy", NOTHING],
    "eval.openvla_memory": ["--checkpoint", NOTHING],
    "eval.openvla_speed": ["--checkpoint", NOTHING],
    "eval.openvla_topologies": ["--batch", "0"],
    "eval.scaling": ["--heads", "0"],
    "eval.speed": ["--rounds", "0"],
    "eval.tokenizers": ["--data", NOTHING],
    "rfsq_jax.backbones.openvla.convert": ["--checkpoint", NOTHING],
    "train.ae": ["--suites", "libero_moon"],
    "train.demos": ["--rollout-policy", NOTHING],
    "train.draft": ["--policy", NOTHING],
    "train.features": ["--tokenizer", NOTHING],
    "train.heads": ["--config", NOTHING],
    "train.shared": ["--training.suites", "libero_moon"],
}


def test_every_command_is_tried():
    files = [path for folder in ("eval", "train") for path in (ROOT / folder).glob("[!_]*.py")]
    commands = {f"{path.parent.name}.{path.stem}" for path in files}
    assert commands == MISTAKES.keys() - {"rfsq_jax.backbones.openvla.convert"}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_of_the_user_is_one_line_and_code_2(command, tmp_path, capsys):
    main = importlib.import_module(command).main
    output = [] if command == "eval.failures" else ["--output", str(tmp_path / "run")]
    line = refusal(main, [*MISTAKES[command], *output], capsys)
    assert line.startswith(f"{command}: ")
    assert not (tmp_path / "run").exists()


OWNERS = {
    "eval.backbones": [],
    "eval.compare": [],
    "eval.libero": [],
    "eval.scaling": ["--topologies", "v5e:2x2"],
    "train.ae": [],
    "train.demos": ["--suite", "libero_goal"],
    "train.draft": [],
    "train.features": [],
    "train.heads": [],
    "train.shared": [],
}


@pytest.mark.parametrize("command", OWNERS)
def test_a_second_run_in_a_folder_is_refused(command, tmp_path, capsys):
    main = importlib.import_module(command).main
    with hold_folder(tmp_path):
        line = refusal(main, [*OWNERS[command], "--output", str(tmp_path)], capsys)
    assert line.startswith(f"{command}: {tmp_path} is in use by process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []
