"""The policy of all workers: batches of one size, a sample of what it was asked."""

import dataclasses

import numpy as np
import pytest

from rfsq_jax.data.observations import Observations
from rfsq_jax.evaluation.play.batched_policy import Server, rows_are_independent
from tests.support.evaluation import CAMERAS, SIZE, Pushes


def observation(seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (1, CAMERAS, SIZE, SIZE, 3), dtype=np.uint8)
    return Observations(images, ["go"], rng.normal(size=(1, 8)).astype(np.float32))


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
    actor, shown = Sized(), [observation(seed) for seed in range(count)]
    server = Server(actor, batch)
    answers = server.answer(shown)
    assert actor.sizes == [batch] * calls
    for one, answer in zip(shown, answers, strict=True):
        np.testing.assert_array_equal(answer, Server(Pushes(), 1).answer([one])[0])
    assert server.answered == count
    assert server.sample[0].state is shown[0].state
    assert server.sample[0].images is not shown[0].images


def test_the_sample_is_spread_over_the_run():
    server, one = Server(Pushes(), 1), observation()
    for number in range(500):
        server.answer([dataclasses.replace(one, instructions=[str(number)])])
    numbers = [int(each.instructions[0]) for each in server.sample]
    assert len(numbers) == len(set(numbers)) == 48
    assert 180 < sum(numbers) / 48 < 320


def test_rows_that_see_each_other_are_noticed():
    assert rows_are_independent(Sized(), observation(), 4)
    assert not rows_are_independent(Sized(peeks=True), observation(), 4)


def test_a_batch_is_a_power_of_two():
    with pytest.raises(ValueError, match="batch must be a power of two, got 3"):
        Server(Pushes(), 3)
