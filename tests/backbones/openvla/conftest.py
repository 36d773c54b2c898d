"""Small checkpoints of both models."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.openvla_checkpoints import TINY, TINY_OFT, write_checkpoint


@pytest.fixture(scope="module")
def oft_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "oft", TINY_OFT)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "base", TINY)
