"""The command eval.failures on a finished run of two episodes."""

import dataclasses

import numpy as np

from eval import failures
from rfsq_jax.evaluation.log import EpisodeLog, digest, write_actions
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Trial
from rfsq_jax.runs.descriptions import sealed
from rfsq_jax.runs.json_files import read_json, write_json
from tests.support.commands import refusal
from tests.support.evaluation import record_of

PROTOCOL = EvaluationProtocol(execute=8, starts="random", image_size=64)
TRIAL = Trial("libero_object", 1, 0)


def test_the_command_plays_failures_only(tmp_path, capsys):
    closing = np.tile(np.array([0, 0, 0, 0, 0, 0, 1], np.float32), (10, 1))
    log = EpisodeLog(tmp_path / "episodes.jsonl")
    write_actions(tmp_path, TRIAL, closing)
    log.append(record_of(TRIAL, success=False, actions_sha256=digest(closing)))
    log.append(record_of(dataclasses.replace(TRIAL, number=1), success=True))
    assert "expected a finished run" in refusal(failures.main, [str(tmp_path)], capsys)
    figures = {"protocol": dataclasses.asdict(PROTOCOL)}
    write_json(tmp_path / "results.json", sealed({"figures": figures}))
    assert failures.main([str(tmp_path), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "closed beside the thing" in shown
    assert "100%" in shown
    (figures,) = read_json(tmp_path / failures.OUTPUT)
    assert figures["mode"] == "closed beside the thing"
    assert figures["closings"] == 1
