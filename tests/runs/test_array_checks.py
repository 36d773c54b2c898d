"""What a caller may give as numbers, and what is said of the rest."""

from __future__ import annotations

import datetime
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.runs.array_checks import as_floats, as_integers

MASKED = np.ma.masked_greater(np.arange(4.0), 2)


class FromElsewhere:
    """What other libraries' tensors have."""

    def __array__(self, dtype=None, copy=None):
        return np.ones((2, 3), np.float64)


@pytest.mark.parametrize(
    "values",
    [
        np.ones((2, 3), np.float16),
        np.ones((2, 3), np.longdouble),
        jnp.ones((2, 3)),
        jnp.ones((2, 3), jnp.bfloat16),
        FromElsewhere(),
        [[1.0, 1.0, 1.0]] * 2,
        np.ma.ones((2, 3)),
    ],
    ids=lambda values: type(values).__name__,
)
def test_any_floats_become_float32(values):
    found = as_floats(values, "x")
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, np.ones((2, 3), np.float32), strict=True)


NO_FLOATS = [
    (np.ones(2, complex), TypeError, "must be floating point, got complex128"),
    (["1.0", "2.0"], TypeError, "must be floating point, got str"),
    (np.array(["2020-01-01"], "datetime64[D]"), TypeError, "got datetime64"),
    ([datetime.datetime(2020, 1, 1)], TypeError, "got datetime"),
    ([True, False], TypeError, "got bool"),
    ([1, 2], TypeError, "got int64"),
    (None, TypeError, "got NoneType"),
    ({"a": 1.0}, TypeError, "got dict"),
    ([[1.0], [1.0, 2.0]], ValueError, "must be one array, got lists of different lengths"),
    (MASKED, ValueError, "must hold every value, got a masked array"),
    ([MASKED, MASKED], ValueError, "masked array"),
    ([1.0, np.ma.masked], ValueError, "masked array"),
    ([1.0, np.nan], ValueError, "must be finite, got 1 NaN or inf of 2 values"),
    ([1.0, 1e300], ValueError, "must be finite, got 1 NaN or inf of 2 values, beyond float32"),
]


@pytest.mark.parametrize(("values", "error", "message"), NO_FLOATS)
def test_what_else_is_named(values, error, message):
    with pytest.raises(error, match=f"^x .*{message}"):
        as_floats(values, "x")


def test_overflow_is_no_warning_as_well():
    with warnings.catch_warnings(record=True, action="always") as said:
        with pytest.raises(ValueError, match="beyond float32"):
            as_floats(np.array([-1e300]), "x")
        assert not said


@pytest.mark.parametrize(
    "values", [[1, 2], np.array([1, 2], np.uint64), jnp.array([1, 2]), (np.int8(1), 2)]
)
def test_any_integers_become_int64(values):
    np.testing.assert_array_equal(as_integers(values, "x"), np.array([1, 2]), strict=True)


@pytest.mark.parametrize("values", [[], np.empty((0, 3), np.float32), ()])
def test_no_values_are_no_integers(values):
    assert as_integers(values, "x").dtype == np.int64


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0], TypeError, "must be integers, got float64"),
        ([True], TypeError, "must be integers, got bool"),
        (["1"], TypeError, "must be integers, got str"),
        (None, TypeError, "got NoneType"),
        (np.array(["2020-01-01"], "datetime64[D]"), TypeError, "got datetime64"),
        ([1, None], TypeError, "must be integers, got NoneType and int"),
        ([2**63], ValueError, f"got {2**63}"),
        ([1, 2**70], ValueError, f"got {2**70}"),
        ([[1], [1, 2]], ValueError, "lists of different lengths"),
        (np.ma.masked_equal([1, 2], 1), ValueError, "masked array"),
    ],
)
def test_what_is_no_integer_is_named(values, error, message):
    with pytest.raises(error, match=f"^x .*{message}"):
        as_integers(values, "x")
