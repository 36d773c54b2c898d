"""What a dataclass declares is what it gets: from JSON, and from a constructor."""

import dataclasses
import math

import pytest

from rfsq_jax.runs.records import parse_record, require_types


@dataclasses.dataclass(frozen=True)
class Inner:
    size: int = 1
    share: float = 0.5

    def __post_init__(self):
        require_types(self)
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner
    pair: tuple[float, float]
    name: str | None = None


GOOD = {"inner": {"size": 2, "share": 1}, "pair": [0, 1.5], "name": "x"}


def test_json_becomes_the_dataclass():
    expected = Outer(Inner(2, 1.0), (0.0, 1.5), "x")
    assert parse_record(Outer, GOOD, "here") == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pair": [1.0]}, "pair.1 is missing"),
        ({"pair": "12"}, "pair must be a valid array, got '12'"),
        ({"inner": {"size": True}}, "inner.size must be a valid integer, got True"),
        ({"inner": {"size": 1.0}}, "inner.size must be a valid integer, got 1.0"),
        ({"inner": {"size": 0}}, "inner: size must be at least 1, got 0"),
        ({"inner": {"share": "3"}}, "inner.share must be a valid number, got '3'"),
        ({"inner": None}, "inner must be an object, got None"),
        ({"other": 1}, "other is unknown"),
        ({"name": 3}, "name must be a valid string, got 3"),
    ],
)
def test_whatever_else_is_named(change, message):
    with pytest.raises(ValueError, match=f"^file: {message}"):
        parse_record(Outer, {**GOOD, **change}, "file")


def test_a_missing_key_is_named():
    with pytest.raises(ValueError, match="file: inner is missing; pair is missing"):
        parse_record(Outer, {}, "file")
    with pytest.raises(ValueError, match="must be an object"):
        parse_record(Outer, [], "file")


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 1.5), ("size", True), ("size", "3"), ("share", math.inf), ("share", math.nan)],
)
def test_constructors_take_no_other_types(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Inner(**{field: value})


def test_a_whole_number_is_a_number():
    assert Inner(share=1).share == 1
