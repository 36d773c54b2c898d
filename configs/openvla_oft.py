"""Robust tokens on OpenVLA-OFT's action states, for LIBERO-Spatial.

The published checkpoint's files go to checkpoints/openvla-oft-libero-spatial; another folder, suite
or number of devices for one run:

python -m train.features --config configs/openvla_oft.py --checkpoint DIR \
    --suites libero_spatial --backbone-options chips 4
python -m train.heads --config configs/openvla_oft.py --features.checkpoint DIR
python -m eval.libero --policy runs/heads/openvla_oft/policy --checkpoint DIR

The features of a frame take 0.9 MB, those of this run 6 GB. Training reads the checkpoint's headers
only, to check that the features are its own.
"""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.training import PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    features = FeaturesRun(
        backbone="openvla-oft",
        checkpoint=Path("checkpoints/openvla-oft-libero-spatial"),
        suites=("libero_spatial",),
        dtype="bfloat16",
        batch_size=8,
        output=Path("runs/features/openvla_oft"),
    )
    return PolicyRun(features=features, output=Path("runs/heads/openvla_oft"))
