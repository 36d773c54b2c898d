"""Sizes of OpenVLA and OpenVLA-OFT; the defaults are the published 7B model's."""

from __future__ import annotations

import dataclasses

from rfsq_jax.runs.checks import require, require_positive

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclasses.dataclass(frozen=True)
class VitConfig:
    """A vision transformer that is cut after its penultimate block.

    Attributes:
      width: of a token.
      depth: blocks in the checkpoint; the last one is not run.
      heads: of attention.
      mlp_width: hidden width of the MLPs.
      registers: register tokens; with any, there is a class token and a scale per channel too.
    """

    width: int
    depth: int
    heads: int
    mlp_width: int
    registers: int

    def __post_init__(self) -> None:
        require_positive(self, "width", "heads", "mlp_width")
        require(self.depth >= 2, "depth", "at least 2", self.depth)
        require(self.registers >= 0, "registers", "at least 0", self.registers)
        require(self.width % self.heads == 0, "width", f"a multiple of {self.heads}", self.width)

    @property
    def run_depth(self) -> int:
        """Blocks that are run."""
        return self.depth - 1

    @property
    def prefix(self) -> int:
        """Tokens before the patches: class and registers."""
        return 1 + self.registers if self.registers else 0


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """The language model."""

    vocabulary: int = 32064
    width: int = 4096
    depth: int = 32
    heads: int = 32
    mlp_width: int = 11008
    rope_base: float = 10000.0
    # What the released weights are run with; Llama-2 itself has 1e-5.
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        require_positive(self, "vocabulary", "width", "depth", "heads", "mlp_width")
        fits = self.width % (2 * self.heads) == 0
        require(fits, "width", f"a multiple of twice the {self.heads} heads", self.width)

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.width // self.heads


@dataclasses.dataclass(frozen=True)
class OFTConfig:
    """What OFT adds: slots for a chunk of actions, the L1 head, and perhaps the robot's state."""

    horizon: int = 8
    action_dim: int = 7
    head_blocks: int = 2
    state_dim: int = 8
    proprio: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "horizon", "action_dim", "head_blocks", "state_dim")

    @property
    def slots(self) -> int:
        """Positions that stand for one number of the chunk each."""
        return self.horizon * self.action_dim


DINO = VitConfig(width=1024, depth=24, heads=16, mlp_width=4096, registers=4)
SIGLIP = VitConfig(width=1152, depth=27, heads=16, mlp_width=4304, registers=0)


@dataclasses.dataclass(frozen=True)
class OpenVLAConfig:
    """All of it; without `oft` the base model, which is causal and decodes tokens."""

    dino: VitConfig = DINO
    siglip: VitConfig = SIGLIP
    llama: LlamaConfig = LlamaConfig()
    oft: OFTConfig | None = None
    image_size: int = 224
    patch: int = 14

    def __post_init__(self) -> None:
        require_positive(self, "image_size", "patch")
        whole = self.image_size % self.patch == 0
        require(whole, "image_size", f"a multiple of {self.patch}", self.image_size)

    @property
    def patches(self) -> int:
        """Tokens of one image."""
        return (self.image_size // self.patch) ** 2

    @property
    def vision_width(self) -> int:
        """Width of an image token before the projector."""
        return self.dino.width + self.siglip.width


OPENVLA_7B = OpenVLAConfig()
OPENVLA_OFT_7B = OpenVLAConfig(oft=OFTConfig())
TINY = OpenVLAConfig(
    dino=VitConfig(width=32, depth=4, heads=2, mlp_width=128, registers=4),
    siglip=VitConfig(width=36, depth=5, heads=2, mlp_width=134, registers=0),
    llama=LlamaConfig(vocabulary=128, width=32, depth=3, heads=4, mlp_width=88),
    image_size=56,
)
TINY_OFT = dataclasses.replace(TINY, oft=OFTConfig())
