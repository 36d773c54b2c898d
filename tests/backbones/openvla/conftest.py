"""Small checkpoints of both models, for modules that are skipped without PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def oft_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.openvla_checkpoints import TINY_OFT, write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "oft", TINY_OFT)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.openvla_checkpoints import TINY, write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "base", TINY)
