"""Options and folders that do not fit, named to who gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("simplejpeg")

from rfsq_jax.backbones import get_backbone
from tests.support.openvla_checkpoints import TINY_OFT, write_checkpoint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "all"}, "features must be one of actions, last"),
        ({"early_layer": 3}, r"early_layer must be in 1\.\.2"),
        ({"cameras": 3}, "cameras must be 1 or 2"),
        ({"statistics": "libero_goal"}, "key must be one of libero_spatial_no_noops"),
        ({"chips": "two"}, "chips must be a valid integer"),
        ({"blind": 1}, "blind must be a valid boolean"),
        ({"jpeg": "no"}, "jpeg must be a valid boolean"),
        ({"dtype": "int8"}, "dtype must be one of"),
    ],
)
def test_options_that_do_not_fit_are_named(
    oft_folder: Path, options: dict[str, Any], message: str, unchecked_types: None
) -> None:
    with pytest.raises(ValueError, match=message):
        get_backbone("openvla-oft", path=oft_folder, **{"dtype": "float32", **options})


def test_folders_that_do_not_fit_are_named(
    oft_folder: Path, base_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match="must be a checkpoint of openvla-oft, got one of openvla:"
    ):
        get_backbone("openvla-oft", path=base_folder)
    with pytest.raises(
        ValueError, match="must be a checkpoint of openvla, got one of openvla-oft:"
    ):
        get_backbone("openvla", path=oft_folder)
    with pytest.raises(ValueError, match="features must be last"):
        get_backbone("openvla", path=base_folder, features="actions")
    with pytest.raises(ValueError, match="path must be the folder"):
        get_backbone("openvla")
    with pytest.raises(ValueError, match=r"option must be one of cameras, .*, got 'colour'"):
        get_backbone("openvla", path=base_folder, colour=1)
    mixed = write_checkpoint(tmp_path, TINY_OFT, sets=("libero_goal", "libero_10"))
    with pytest.raises(ValueError, match="statistics must be one of libero_goal, libero_10"):
        get_backbone("openvla-oft", path=mixed)
    with pytest.raises(ValueError, match="chips x replicas must be at most 8 devices"):
        get_backbone("openvla-oft", path=oft_folder, chips=99)
