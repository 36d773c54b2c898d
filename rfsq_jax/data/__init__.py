"""Demonstrations: one episode type, readers, chunks and normalisation."""

from rfsq_jax.data.episodes import Episode

__all__ = ["Episode"]
