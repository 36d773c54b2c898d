"""Action chunks in, tokens out.

protocol     what every kind offers: `ActionTokenizer`, and `Decoder` for heads
registry     the kinds by name
step         RFSQ autoencoder of one time step, the reference's
autoencoder  its networks, as pure functions
bins, fast   what a user would pick instead
files        a tokenizer on disk
"""

from rfsq_jax.tokenizers.protocol import ActionTokenizer, Decoder
from rfsq_jax.tokenizers.registry import kinds

__all__ = ["ActionTokenizer", "Decoder", "kinds"]
