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


def long(number: int) -> bytes:
    """The opcode of a whole number of any size."""
    content = pickle.encode_long(number)
    return b"\x8a" + bytes([len(content)]) + content


COLLIDING = 2**61 - 1
"""Python's hashes of whole numbers are their remainders by this."""


@pytest.mark.parametrize("one_by_one", [False, True])
def test_dicts_built_to_collide_are_refused(one_by_one):
    keys = [long(number * COLLIDING) for number in range(1, 102)]
    few = b"}(" + b"".join(key + b"N" for key in keys[:100]) + b"u"
    assert len(load_plain(io.BytesIO(START + few + b"."))) == 100
    body = few + keys[100] + b"Ns" if one_by_one else b"}(" + b"N".join(keys) + b"Nu"
    with pytest.raises(ValueError, match="many keys with large numbers among them"):
        load_plain(io.BytesIO(START + body + b"."))


def test_many_small_numbers_are_keys():
    value = dict.fromkeys(range(-(2**31) + 1, 2**31, 2**16), True)
    assert load_plain(io.BytesIO(pickle.dumps(value, protocol=2))) == value


def test_a_name_without_end_is_not_read():
    with pytest.raises(ValueError, match=r"asks for x{256}[.]x{256}, which it may not use"):
        load_plain(io.BytesIO(START + b"c" + b"x" * 100_000))


def test_values_that_double_take_no_time():
    """What two references to the same value make is never followed."""
    value = load_plain(io.BytesIO(START + b")" + b"q\x00h\x00\x86" * 1000 + b"."))
    for _ in range(1000):
        (value, other) = value
        assert value is other


def test_depth_is_no_limit():
    depth = 100_000
    value = load_plain(io.BytesIO(START + b"]" * depth + b"a" * (depth - 1) + b"."))
    for _ in range(depth - 1):
        (value,) = value
    assert value == []
