"""What heads need of a tokenizer inside of a jitted function.

Axes: B chunks · T steps of a chunk · A action dims · D latent dims · L layers · K levels.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

from rfsq_jax.rfsq.layers import AnyArray


@runtime_checkable
class Decoder(Protocol):
    """The half of a tokenizer that heads need, as pure functions for jit; actions normalised."""

    def actions(self, codes: Int[AnyArray, "b t d l"]) -> Float[Array, "b t a"]:
        """Codes, or those of the first layers -> actions."""
        ...

    def mean_actions(self, levels: Float[AnyArray, "b t d l"]) -> Float[Array, "b t a"]:
        """Mean levels, which lie between the codes -> actions of the mean latents.

        Of the first layers only: with what the other layers hold in the mean.
        """
        ...

    def deviation(self, probabilities: Float[AnyArray, "b t d l k"]) -> Float[Array, "b t d"]:
        """Standard deviation of the latents where each code is distributed like this."""
        ...
