"""Whether a step fits, and how long it takes by estimate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from eval.benchmarks.compiled import fit
from eval.benchmarks.compiled.fit import (
    HOP_SECONDS,
    Estimate,
    ExceededError,
    Memory,
    compile_step,
    estimate,
    hops_around,
    torus_of,
)
from eval.benchmarks.compiled.hlo import Program
from eval.benchmarks.device_peaks import PEAKS, Cost, Peak

PEAK = PEAKS["TPU v5 lite"]


@pytest.mark.parametrize(
    ("group", "torus", "hops"),
    [(1, (2, 4), 0), (4, (16, 16), 3), (256, (16, 16), 30), (8, (2, 2, 2), 3), (2, (4, 4), 1)],
)
def test_the_way_around_a_group(group, torus, hops):
    assert hops_around(group, torus) == hops


def test_topologies_are_a_chip_and_its_axes():
    assert torus_of("v5e:2x4") == (2, 4)
    assert torus_of("v5p:2x2x1") == (2, 2, 1)
    for wrong in ("v5e", "2x4", "v5e:2x", "v5e:2x4x", "h100"):
        with pytest.raises(ValueError, match="topologies must be a chip and its axes"):
            torus_of(wrong)


def test_an_estimate_is_computing_sending_and_waiting_of_one_step():
    assert PEAK.ring is not None
    program = Program({"all-reduce": 2}, {"all-reduce": PEAK.ring}, {8: 4, 2: 1}, 10**6)
    found = estimate(program, PEAK, (2, 4), Cost(PEAK.flops, 0), repeats=10)
    assert found.sending == pytest.approx(0.1)
    assert found.waiting == pytest.approx((4 * (1 + 3) + 1) * HOP_SECONDS / 10)
    assert found.computing == pytest.approx(PEAK.seconds(10**6) / 10)
    assert found.seconds == found.sending + found.waiting + found.computing
    assert found.fraction_of_limit == pytest.approx(0.1 / found.seconds)


def test_a_chip_whose_links_are_not_known_has_no_estimate():
    with pytest.raises(ValueError, match=r"peak\.ring"):
        estimate(Program({}, {}, {}, 1), Peak(1, 1, 1), (1,), Cost(1, 1), 1)


def test_donated_memory_counts_once():
    x = jax.ShapeDtypeStruct((1000,), jnp.float32)
    kept, donated = (
        Memory.of(jax.jit(lambda x: 2 * x, donate_argnums=argnums).lower(x).compile())
        for argnums in ((), (0,))
    )
    assert kept.arguments == kept.results == donated.donated == 4000
    assert kept.used - donated.used == 4000


def test_a_program_larger_than_the_memory_is_refused():
    lowered = jax.jit(lambda x: x + 1).lower(jax.ShapeDtypeStruct((1000,), jnp.float32))
    compiled, memory = compile_step(lowered, 1e6)
    assert 8000 <= memory.used < 1e6
    assert fit.read_step(compiled, 1).collectives == {}
    with pytest.raises(ExceededError, match=r"needs 0\.00 GB of 0\.00 GB"):
        compile_step(lowered, 7999)


class TooLarge:
    """Lowered code that the compiler refuses."""

    def __init__(self, message: str) -> None:
        self.message = message

    def compile(self):
        raise jax.errors.JaxRuntimeError(self.message)


def test_what_the_compiler_says_of_memory_is_told():
    said = "RESOURCE_EXHAUSTED: Ran out of memory.\nUsed 20.50G of 15.75G hbm. Exceeded.\nAll"
    with pytest.raises(
        ExceededError, match=r"^Ran out of memory\. Used 20\.50G of 15\.75G hbm\. Exceeded\.$"
    ):
        compile_step(TooLarge(said), 1e9)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        compile_step(TooLarge("INTERNAL: something else"), 1e9)


def test_the_limit_is_the_longer_of_operations_and_bytes():
    program = Program({}, {}, {}, 1)
    slow = estimate(program, PEAK, (1,), Cost(PEAK.flops, 3 * PEAK.bandwidth), 1)
    assert slow.limit == pytest.approx(3)
    assert Estimate(1, 1, 0, 1).fraction_of_limit == 0.5
