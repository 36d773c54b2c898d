"""A small file of recorded actions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recorded_actions import smooth_episodes, write_actions


@pytest.fixture(scope="session")
def actions_file(tmp_path_factory) -> Path:
    return write_actions(tmp_path_factory.mktemp("actions") / "demos.npz", smooth_episodes())
