"""Pictures go through JPEG once: in the backbone, or before it; what that needs is said early."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from rfsq_jax.backbones import get_backbone
from rfsq_jax.backbones.openvla import images
from rfsq_jax.data.observations import Observations
from rfsq_jax.data.readers.jpeg import DecoderMissingError
from tests.support.images import pictures, states
from tests.support.openvla_checkpoints import TINY, TINY_OFT, write_checkpoint


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    kinds = {"openvla": TINY, "openvla-oft": TINY_OFT}
    return {name: write_checkpoint(root / name, config) for name, config in kinds.items()}


def test_stored_pictures_go_through_jpeg_once(folders: dict[str, Path]) -> None:
    pytest.importorskip("simplejpeg")
    path, sentences = folders["openvla-oft"], ["put it here", "pick up"]
    drawn: Any = get_backbone("openvla-oft", path=path)
    stored: Any = get_backbone("openvla-oft", path=path, jpeg=False)
    shown = pictures(2, 64)
    decoded = np.stack([[images.jpeg_round_trip(each) for each in pair] for pair in shown])
    first = drawn.prepare(Observations(shown, sentences, states()))["pixels"]
    np.testing.assert_array_equal(
        first, stored.prepare(Observations(decoded, sentences, states()))["pixels"]
    )
    assert (first != stored.prepare(Observations(shown, sentences, states()))["pixels"]).any()
    assert stored.spec == drawn.spec


@pytest.mark.parametrize("name", ["openvla", "openvla-oft"])
def test_a_missing_decoder_is_an_early_error(
    name: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the backbone is made, not when a worker meets the first picture."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(DecoderMissingError, match=r'pip install "rfsq-jax\[openvla\]"'):
        get_backbone(name, path=folders[name])
    assert get_backbone(name, path=folders[name], jpeg=False).spec.name == name
