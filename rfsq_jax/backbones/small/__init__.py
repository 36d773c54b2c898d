"""The small backbone, for users without OpenVLA's weights and for tests."""

from rfsq_jax.backbones.small.backbone import SmallBackbone, SmallConfig
from rfsq_jax.backbones.small.efficientnet import WeightsMissingError

__all__ = ["SmallBackbone", "SmallConfig", "WeightsMissingError"]
