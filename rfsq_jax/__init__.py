"""Discrete action tokens for robot policies, in JAX.

rfsq             the quantiser: pure functions on arrays
autoencoder      small networks around it
ActionTokenizer  robot actions <-> tokens, numpy in and out
baselines        what else turns actions into tokens: bins, FAST
data             demonstrations: episodes, chunks, normalisation, readers
libero           the LIBERO simulator in numpy: tasks, environment, scripted experts
training         state, sharding, checkpoints, metrics, loop
"""

from rfsq_jax import rfsq
from rfsq_jax.tokenizers.step import ActionTokenizer

__all__ = ["ActionTokenizer", "rfsq"]
