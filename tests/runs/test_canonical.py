"""Hashes of configs outlive options that are added later."""

import dataclasses

from rfsq_jax.backbones.small import backbone as small
from rfsq_jax.runs.canonical import added, canonical


@dataclasses.dataclass(frozen=True)
class Inner:
    size: int = 3


@dataclasses.dataclass(frozen=True)
class Before:
    name: str = "a"
    inner: Inner = Inner()


@dataclasses.dataclass(frozen=True)
class After(Before):
    extra: float = added(0.0)


def test_an_added_option_at_its_default_changes_nothing():
    assert canonical(After()) == canonical(Before()) == {"name": "a", "inner": {"size": 3}}
    assert canonical(After(extra=1.0)) == {**canonical(Before()), "extra": 1.0}


def test_a_backbones_version_stays_when_an_option_is_added(tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    longer = dataclasses.make_dataclass(
        "Longer", [("crop", float, added(0.0))], bases=(small.SmallConfig,), frozen=True
    )
    assert small._version(longer(), weights) == small._version(small.SmallConfig(), weights)
    assert small._version(longer(crop=0.5), weights) != small._version(longer(), weights)
