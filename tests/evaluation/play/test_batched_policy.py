"""The policy of all workers: batches of one size, a sample of what it was asked."""

import dataclasses

import numpy as np
import pytest

from rfsq_jax.evaluation.play.batched_policy import Question, Server, rows_are_independent
from tests.support.evaluation import CAMERAS, SIZE, Pushes


def question(seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (CAMERAS, SIZE, SIZE, 3), dtype=np.uint8)
    return Question(images, "go", rng.normal(size=8).astype(np.float32))


class Sized(Pushes):
    """Notes the sizes of its batches; its answer depends on the whole batch if it `peeks`."""

    def __init__(self, peeks=False):
        super().__init__()
        self.sizes, self.peeks = [], peeks

    def act(self, observations):
        self.sizes.append(len(observations.state))
        chunks = super().act(observations)
        return chunks + np.float32(observations.state.sum() * 1e-6) if self.peeks else chunks


@pytest.mark.parametrize(("batch", "count", "calls"), [(1, 3, 3), (4, 3, 1), (4, 9, 3)])
def test_every_batch_has_one_size(batch, count, calls):
    actor, questions = Sized(), [question(seed) for seed in range(count)]
    server = Server(actor, batch)
    answers = server.answer(questions)
    assert actor.sizes == [batch] * calls
    for one, answer in zip(questions, answers, strict=True):
        np.testing.assert_array_equal(answer, Server(Pushes(), 1).answer([one])[0])
    assert server.answered == count
    assert server.sample[0].state is questions[0].state
    assert server.sample[0].images is not questions[0].images


def test_the_sample_is_spread_over_the_run():
    server, one = Server(Pushes(), 1), question()
    for number in range(500):
        server.answer([dataclasses.replace(one, instruction=str(number))])
    numbers = [int(each.instruction) for each in server.sample]
    assert len(numbers) == len(set(numbers)) == 48
    assert 180 < sum(numbers) / 48 < 320


def test_rows_that_see_each_other_are_noticed():
    assert rows_are_independent(Sized(), question(), 4)
    assert not rows_are_independent(Sized(peeks=True), question(), 4)


def test_a_batch_is_a_power_of_two():
    with pytest.raises(ValueError, match="batch must be a power of two, got 3"):
        Server(Pushes(), 3)
