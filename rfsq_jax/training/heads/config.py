"""What one policy is made of: features, tokenizer, heads; the files in configs/ build these."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rfsq_jax.features.config import FeaturesRun, without_defaults
from rfsq_jax.training.heads.training import HeadsTraining


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyRun:
    """One run of train.features and train.heads.

    Attributes:
      features: which frozen features, and where they are.
      training: heads, loss, optimiser and length.
      tokenizer: a bundled name, or a folder that train.ae wrote; what the heads predict.
      output: the heads' folder; the same command resumes what is there.
    """

    features: FeaturesRun = FeaturesRun()
    training: HeadsTraining = HeadsTraining()
    tokenizer: str = "libero"
    output: Path = Path("runs/heads/small")

    def identity(self) -> dict[str, Any]:
        """The options that decide what is in the heads' folder."""
        options = dataclasses.asdict(self)
        return {**options, "features": without_defaults(options["features"])}
