"""One policy for all workers: their questions together, in batches of one fixed size.

A program compiled for another batch size may round in another way. With one size, and rows that
do not see each other, an answer does not depend on who else asked.

Axes: B batch · C cameras · H, W image · T steps of a chunk.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.policies import Observations
from rfsq_jax.runs.checks import require

ACCELERATOR_BATCH = 8
SAMPLE_SIZE = 48


@runtime_checkable
class Actor(Protocol):
    """What is evaluated."""

    @property
    def horizon(self) -> int:
        """Steps of a chunk."""
        ...

    def act(self, observations: Observations) -> Float[np.ndarray, "b t 7"]:
        """Returns a chunk for every row."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What one environment shows."""

    images: UInt8[np.ndarray, "c h w 3"]
    instruction: str
    state: Float[np.ndarray, " 8"]


class Server:
    """Answers questions in batches of `batch` rows; counts and times them.

    Attributes:
      batch: rows of every call.
      answered: questions so far.
      seconds: spent in the policy.
      sample: a few questions, spread over the run, to measure the policy on afterwards.
    """

    def __init__(self, actor: Actor, batch: int) -> None:
        """Compiles nothing yet.

        Raises:
          ValueError: unless `batch` is a power of two, which the policy does not pad further.
        """
        power = batch >= 1 and batch & (batch - 1) == 0
        require(power, "batch", "a power of two", batch)
        self.actor, self.batch = actor, batch
        self.answered, self.seconds = 0, 0.0
        self.sample: list[Question] = []
        self._dice = np.random.default_rng(0)

    def answer(self, questions: Sequence[Question]) -> list[Float[np.ndarray, "t 7"]]:
        """Returns one chunk per question, in order."""
        began = time.perf_counter()
        parts = [
            _act(self.actor, questions[start : start + self.batch], self.batch)
            for start in range(0, len(questions), self.batch)
        ]
        self.seconds += time.perf_counter() - began
        for question in questions:
            self._count(question)
        return [chunk for part in parts for chunk in part]

    def _count(self, question: Question) -> None:
        """Keeps every question with the same chance, however many there will be."""
        place = self.answered
        if place >= SAMPLE_SIZE:
            place = int(self._dice.integers(self.answered + 1))
        if place < SAMPLE_SIZE:
            # The pictures lie in memory that the worker writes to again.
            copied = dataclasses.replace(question, images=question.images.copy())
            self.sample[place : place + 1] = [copied]
        self.answered += 1


def default_batch() -> int:
    """1 on a CPU, where larger batches are no faster; 8 on an accelerator."""
    return 1 if jax.default_backend() == "cpu" else ACCELERATOR_BATCH


def rows_are_independent(actor: Actor, question: Question, batch: int, seed: int = 0) -> bool:
    """Whether an answer has the same bits in every row of a batch, whoever its neighbours are."""
    rng = np.random.default_rng(seed)
    answers = []
    for place in range(batch):
        rows = [_scrambled(question, rng) for _ in range(batch)]
        rows[place] = question
        answers.append(_act(actor, rows, batch)[place])
    return all(np.array_equal(answer, answers[0]) for answer in answers)


def stack(questions: Sequence[Question]) -> Observations:
    """Questions as a batch."""
    return Observations(
        images=np.stack([each.images for each in questions]),
        instructions=[each.instruction for each in questions],
        state=np.stack([each.state for each in questions]),
    )


def _act(actor: Actor, questions: Sequence[Question], batch: int) -> Float[np.ndarray, "b t 7"]:
    padded = [*questions, *[questions[0]] * (batch - len(questions))]
    return actor.act(stack(padded))[: len(questions)]


def _scrambled(question: Question, rng: np.random.Generator) -> Question:
    images = rng.integers(0, 256, question.images.shape, dtype=np.uint8)
    noise = rng.normal(size=question.state.shape).astype(np.float32)
    return dataclasses.replace(question, images=images, state=question.state + noise)
