"""The machine that reads pickles of plain data: the same as pickle, or a refusal."""

import collections
import io
import pickle
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfsq_jax.interop.plain_pickle import load_plain
from tests.support.torch_files import Calls

KEYS = st.text(max_size=5) | st.integers()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple),
)
START = b"\x80\x02"


@given(PLAIN)
def test_plain_values_come_back(value):
    stream = io.BytesIO(pickle.dumps(value, protocol=2) + b"rest")
    assert load_plain(stream) == value
    assert stream.read() == b"rest"


def test_a_value_that_is_named_twice_stays_one_value():
    inner = [1]
    first, second = load_plain(io.BytesIO(pickle.dumps([inner, inner], protocol=2)))
    assert first is second == inner


def test_names_stand_for_what_the_caller_says():
    ordered = collections.OrderedDict(a=1)
    vars(ordered)["note"] = "is dropped"
    content = pickle.dumps([ordered, Calls(divmod, 7, 2)], protocol=2)
    names = {"collections.OrderedDict": lambda _: {}, "__builtin__.divmod": sum}
    assert load_plain(io.BytesIO(content), names) == [{"a": 1}, 9]


@settings(max_examples=300)
@given(st.binary(max_size=40))
def test_garbage_is_refused_or_plain(content):
    try:
        value = load_plain(io.BytesIO(START + content + b"."))
    except ValueError:
        return
    assert value is None or isinstance(value, bool | int | float | str | tuple | list | dict)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"cos\nsystem\n.", "asks for os.system"),
        (b"cos\nsystem", "asks for os.system"),
        (b"", "cut short"),
        (b"X\xff\xff\xff\xffab.", "cut short"),
        (b".", "needs a value of type object"),
        (b"K\x01a.", "needs a value of type list"),
        (b"K\x01K\x02a.", "needs a value of type list"),
        (b"}K\x01s.", "needs a value of type object|keys are no names"),
        (b"}(K\x01u.", "keys are no names"),
        (b"}((tNu.", "keys are no names"),
        (b"t.", "ends a group"),
        (b"h\x07.", "refers to a value that is not there"),
        (b"K\x01)R.", "calls what is no function"),
        (b"K\x01Q.", "refers to data outside"),
        (b"K\x01}b.", "needs a value of type dict"),
        (b"I01\n.", "opcode b'I'"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", r"opcode b'\\x8e'"),
        (b"\x80\x04.", "must have protocol 2, got 4"),
    ],
)
def test_what_is_not_plain_is_refused(body, message):
    with pytest.raises(ValueError, match=message):
        load_plain(io.BytesIO(START + body))


def test_a_few_bytes_take_no_gigabytes():
    tracemalloc.start()
    try:
        assert load_plain(io.BytesIO(START + b"K\x01r\xff\xff\xff\x7f.")) == 1
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_depth_is_no_limit():
    depth = 100_000
    value = load_plain(io.BytesIO(START + b"]" * depth + b"a" * (depth - 1) + b"."))
    for _ in range(depth - 1):
        (value,) = value
    assert value == []
