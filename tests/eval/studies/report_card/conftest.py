"""Smooth held-out chunks and an ordered tokenizer."""

from __future__ import annotations

import numpy as np
import pytest

from eval.studies.report_card.data import HeldOut
from eval.studies.token_statistics import adjacency
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.episodes import episode_chunks
from tests.support.ordered_tokenizers import CosineTokenizer
from tests.support.recorded_actions import smooth_episodes


@pytest.fixture(scope="session")
def held_out() -> HeldOut:
    parts = [episode_chunks(episode, 8) for episode in smooth_episodes()]
    chunks = np.concatenate(parts)
    return HeldOut(chunks, adjacency([len(part) for part in parts]), ActionSpace.fit(chunks))


@pytest.fixture(scope="session")
def ordered(held_out) -> CosineTokenizer:
    return CosineTokenizer(held_out.space)
