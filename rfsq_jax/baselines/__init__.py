"""What a user would pick instead of RFSQ, behind the same interface."""

from rfsq_jax.baselines.bins import BinTokenizer
from rfsq_jax.baselines.chunks import Tokenizer
from rfsq_jax.baselines.fast import FastTokenizer

__all__ = ["BinTokenizer", "FastTokenizer", "Tokenizer"]
