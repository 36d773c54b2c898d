"""The campaign finds what is half written or ends otherwise, and passes what keeps its word."""

from __future__ import annotations

import pytest

from rfsq_jax.runs.json_files import read_json
from tests.kills.campaign import BrokenPromiseError, Campaign
from tests.kills.scenarios import SCENARIOS, Scenario

pytestmark = pytest.mark.slow

HALF = """
import sys, time
from pathlib import Path
from rfsq_jax.runs.claims import claim_folder, hold_folder

output = Path(sys.argv[1].removeprefix("--output="))
with hold_folder(output):
    claim_folder(output, {})
    (output / "value.json").write_text("[1, ")
    time.sleep(1.0)
    (output / "value.json").write_text("[1, 2]")
"""
COUNTING = """
import sys, time
from pathlib import Path
from rfsq_jax.runs.claims import claim_folder, hold_folder

output = Path(sys.argv[1].removeprefix("--output="))
with hold_folder(output):
    claim_folder(output, {})
    (output / "value.json").write_text(str(len(list(output.glob("start*")))))
    (output / f"start{time.time_ns()}").touch()
    time.sleep(1.0)
"""


def scenario(script: str) -> Scenario:
    return Scenario(
        name="planted",
        arguments=lambda folder: ["-c", script],
        check=lambda output: read_json(output / "value.json"),
        result=lambda output: read_json(output / "value.json"),
    )


@pytest.mark.parametrize(
    ("script", "message"), [(HALF, "is not whole: .*not valid JSON"), (COUNTING, "ended with")]
)
def test_a_broken_promise_is_found(tmp_path, script, message):
    campaign = Campaign(scenario(script), tmp_path, seed=0)
    with pytest.raises(BrokenPromiseError, match=message):
        campaign.run(5)


def test_a_command_that_fails_is_found(tmp_path):
    with pytest.raises(BrokenPromiseError, match="ended with code 3"):
        Campaign(scenario("import sys; sys.exit(3)"), tmp_path, seed=0)


def test_saves_keep_their_word(tmp_path):
    (saves,) = (each for each in SCENARIOS if each.name == "save")
    counted = []
    report = Campaign(saves, tmp_path, seed=1).run(3, counted.append)
    assert (report.kills, counted) == (3, [1, 1, 1])
    assert report.runs >= 1
