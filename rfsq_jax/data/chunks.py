"""Action chunks: windows of consecutive steps within one episode.

Axes: N steps of an episode · M chunks · T steps of a chunk · A action dims.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.episodes import Episode

HORIZON = 8
"""Steps of a chunk in the reference experiment and in OpenVLA-OFT: the default everywhere."""


def episode_chunks(
    actions: Float[np.ndarray, "n a"], horizon: int, stride: int = 1
) -> Float[np.ndarray, "m {horizon} a"]:
    """Every window of `horizon` steps, `stride` apart; none if the episode is shorter."""
    if len(actions) < horizon:
        return np.empty((0, horizon, actions.shape[1]), actions.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(actions, horizon, axis=0)
    return np.ascontiguousarray(np.moveaxis(windows[::stride], -1, 1))


def chunk_episodes(
    episodes: Sequence[Episode], horizon: int, stride: int = 1
) -> Float[np.ndarray, "m {horizon} a"]:
    """The chunks of all episodes, in order.

    Raises:
      ValueError: if no episode has `horizon` steps.
    """
    chunks = [episode_chunks(episode.actions, horizon, stride) for episode in episodes]
    if not any(len(part) for part in chunks):
        raise ValueError(
            f"expected an episode of at least {horizon} steps, got {len(chunks)} shorter"
        )
    return np.concatenate(chunks)
