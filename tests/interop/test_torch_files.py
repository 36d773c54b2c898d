"""Tensors out of torch's files, read without torch and without running anything."""

import collections
import contextlib
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfsq_jax.interop.torch_files import read_state_dict
from tests.support.torch_files import Calls, legacy_file, pickled, tensor, zip_file

WRITERS = {"legacy": legacy_file, "zip": zip_file}
FORMATS = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]
NUMBERS = np.arange(4, dtype="<f4")


def read(folder: Path, content: bytes) -> dict[str, np.ndarray]:
    path = folder / "x.pth"
    path.write_bytes(content)
    return read_state_dict(path)


def one_tensor(write, claims=None, **options) -> bytes:
    """A file of one storage of four numbers, and a tensor whose claims are ours to choose."""
    honest = {"size": 4, "offset": 0, "shape": (4,), "strides": (1,)}
    view = tensor("FloatStorage", "0", **(honest | (claims or {})))
    return write({"x": view}, {"0": NUMBERS}, **options)


@FORMATS
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "<f8"),
        ("FloatStorage", "<f4"),
        ("HalfStorage", "<f2"),
        ("LongStorage", "<i8"),
        ("IntStorage", "<i4"),
        ("ShortStorage", "<i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
    ],
)
def test_every_dtype_comes_back(tmp_path, write, kind, dtype):
    values = np.array([0, 1, 100, 7], dtype)
    state = {"x": tensor(kind, "0", 4, 0, (4,), (1,))}
    found = read(tmp_path, write(state, {"0": values}))["x"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@FORMATS
def test_bfloat16_is_the_upper_half_of_float32(tmp_path, write):
    values = np.array([1.0, -2.5, 0.0, 3e38], "<f4")
    halves = (values.view("<u4") >> 16).astype("<u2")
    state = {"x": tensor("BFloat16Storage", "0", 4, 0, (4,), (1,))}
    found = read(tmp_path, write(state, {"0": halves}))["x"].astype(np.float32)
    np.testing.assert_array_equal(found.view("<u4"), halves.astype("<u4") << 16)


@FORMATS
def test_tensors_are_views_of_shared_storages(tmp_path, write):
    base = np.arange(24, dtype="<f4").reshape(4, 6)
    state = {
        name: tensor("FloatStorage", key, 24, offset, shape, strides)
        for name, key, offset, shape, strides in (
            ("whole", "0", 0, (4, 6), (6, 1)),
            ("turned", "0", 0, (6, 4), (1, 6)),
            ("part", "0", 6, (2, 3), (6, 2)),
            ("scalar", "0", 7, (), ()),
            ("empty", "0", 24, (0, 3), (3, 1)),
            ("other", "1", 1, (2,), (1,)),
        )
    }
    arrays = read(tmp_path, write(state, {"0": base, "1": -base}))
    assert list(arrays) == list(state)
    expected = (base, base.T, base[1:3, :6:2], base[1, 1], base[:0, :3], -base[0, 1:3])
    for found, values in zip(arrays.values(), expected, strict=True):
        assert found.shape == values.shape
        np.testing.assert_array_equal(found, values)
    assert np.shares_memory(arrays["whole"], arrays["turned"])
    assert not arrays["whole"].flags.writeable


@FORMATS
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {proof}",), "system"),
        (eval, ("open('{proof}', 'w')",), r"\w+\.eval"),
        (open, ("{proof}", "w"), "open"),
        (np.fromfile, ("{proof}",), "fromfile"),
    ],
)
def test_nothing_is_ever_run(tmp_path, write, function, arguments, name):
    proof = tmp_path / "proof"
    call = Calls(function, *(each.format(proof=proof) for each in arguments))
    with pytest.raises(ValueError, match=rf"x\.pth.* asks for .*{name}"):
        read(tmp_path, write({"x": call}, {}))
    assert not proof.exists()


def test_nothing_is_run_in_the_pickles_around_the_tensors(tmp_path):
    proof = tmp_path / "proof"
    call = Calls(os.system, f"touch {proof}")
    framed = [legacy_file({}, {}, **{place: call}) for place in ("system", "keys")]
    for content in (pickled(call), *framed):
        with pytest.raises(ValueError, match=r"asks for .*system"):
            read(tmp_path, content)
    assert not proof.exists()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@settings(suppress_health_check=SHARED_FOLDER, max_examples=80)
@given(data=st.data())
def test_a_file_cut_short_is_refused(tmp_path, write, data):
    content = one_tensor(write)
    with pytest.raises(ValueError, match=r"x\.pth"):
        read(tmp_path, content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@settings(suppress_health_check=SHARED_FOLDER, max_examples=300)
@given(data=st.data())
def test_damage_is_refused_or_harmless(tmp_path, write, data):
    content = bytearray(one_tensor(write))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        arrays = read(tmp_path, bytes(content))
        assert all(array.size <= 4 for array in arrays.values())


@settings(suppress_health_check=SHARED_FOLDER, max_examples=100)
@given(start=st.sampled_from([b"", b"PK\x03\x04", legacy_file({}, {})[:20]]), rest=st.binary())
def test_garbage_is_refused(tmp_path, start, rest):
    with pytest.raises(ValueError, match=r"x\.pth"):
        read(tmp_path, start + rest)


@FORMATS
@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"size": 10**12}, "should have 1000000000000 elements"),
        ({"size": 5}, "should have 5 elements in 20 bytes"),
        ({"size": 3, "shape": (3,)}, "should have 3 elements in 12 bytes"),
        ({"size": -1}, "at least 0"),
        ({"size": 2.0}, "at least 0"),
        ({"shape": (5,)}, "beyond its storage"),
        ({"offset": 3, "shape": (2,)}, "beyond its storage"),
        ({"offset": 2, "shape": (2, 2), "strides": (2, 1)}, "beyond its storage"),
        ({"shape": (10**9,), "strides": (0,)}, "beyond its storage"),
        ({"offset": -1}, "at least 0"),
        ({"offset": 3, "shape": (2,), "strides": (-1,)}, "at least 0"),
        ({"shape": (-1, -1), "strides": (1, 1)}, "at least 0"),
        ({"shape": (2**70,), "strides": (0,)}, "at least 0"),
        ({"shape": (4, 1)}, "at least 0"),
        ({"shape": [4]}, "must be tuples"),
        ({"shape": (1,) * 65, "strides": (1,) * 65}, "at most 64 axes"),
    ],
)
def test_claims_beyond_the_file_are_refused(tmp_path, write, claims, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, one_tensor(write, claims))


@FORMATS
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "got list"),
        ({"a": 3}, "got 'a' in it"),
        ({"a": {"b": tensor("FloatStorage", "0", 4, 0, (4,), (1,))}}, "got 'a' in it"),
        ({3: tensor("FloatStorage", "0", 4, 0, (4,), (1,))}, "got 3 in it"),
        ({(1, 2): 3}, "keys are no names"),
        ({"a": {1, 2}}, "asks for .*set"),
    ],
)
def test_other_contents_are_refused(tmp_path, write, state, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, write(state, {"0": NUMBERS} if "Storage" in str(pickled(state)) else {}))


def test_storages_that_are_not_listed_or_not_used_are_refused(tmp_path):
    for keys in ([], ["1"], ["0", "0"], ["0", "1"]):
        with pytest.raises(ValueError, match="storages, its tensors use others"):
            read(tmp_path, one_tensor(legacy_file, keys=keys))
    with pytest.raises(ValueError, match="list of storages is damaged"):
        read(tmp_path, one_tensor(legacy_file, keys=7))


@FORMATS
def test_big_endian_files_are_refused(tmp_path, write):
    options = {"system": {"little_endian": False}} if write is legacy_file else {"order": b"big"}
    with pytest.raises(ValueError, match="not written on a little-endian machine"):
        read(tmp_path, one_tensor(write, **options))


def test_zips_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is packed or encrypted"):
        read(tmp_path, one_tensor(zip_file, compression=zipfile.ZIP_DEFLATED))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("word/document.xml", "")
    with pytest.raises(ValueError, match=r"one data\.pkl, this has 0"):
        read(tmp_path, other.getvalue())
    state = {"x": tensor("FloatStorage", "7", 4, 0, (4,), (1,))}
    with pytest.raises(ValueError, match="lacks archive/data/7"):
        read(tmp_path, zip_file(state, {"0": NUMBERS}))


def test_members_within_members_are_refused(tmp_path):
    whole = zip_file({"x": tensor("FloatStorage", "0", 4, 0, (4,), (1,))}, {"0": NUMBERS})
    size = struct.pack("<II", 16, 16)
    assert whole.count(size) == 2
    with pytest.raises(ValueError, match=r"its 4 members must be different ones within \d+ bytes"):
        read(tmp_path, whole.replace(size, struct.pack("<II", 2**31, 2**31)))
    directory = whole.index(b"PK\x01\x02")
    first = whole.index(b"PK\x01\x02", directory + 1)
    entry, end = whole[directory:first], whole.index(b"PK\x05\x06")
    count, length, start = 5, end - directory + len(entry), directory
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, length, start, 0)
    with pytest.raises(ValueError, match="its 5 members must be different ones"):
        read(tmp_path, whole[:end] + entry + tail)


def test_values_that_double_are_refused_at_once(tmp_path):
    inner = ()
    for _ in range(60):
        inner = (inner, inner)
    for state, message in ((inner, "got tuple"), ({"a": inner}, "got 'a' in it")):
        with pytest.raises(ValueError, match=message):
            read(tmp_path, legacy_file(state, {}))


@pytest.mark.parametrize("axes", [(100_000, 1), (1, 100_000)], ids=str)
def test_tuples_without_end_are_not_looked_through(tmp_path, axes):
    claims = {"shape": (1,) * axes[0], "strides": ("x",) * axes[1]}
    with pytest.raises(ValueError, match="at most 64 axes"):
        read(tmp_path, one_tensor(legacy_file, claims))


@FORMATS
def test_bytes_that_are_no_booleans_are_refused(tmp_path, write):
    state = {"x": tensor("BoolStorage", "0", 3, 0, (3,), (1,))}
    found = read(tmp_path, write(state, {"0": np.array([0, 1, 1], "u1")}))
    assert found["x"].tolist() == [False, True, True]
    with pytest.raises(ValueError, match="storage 0 must hold booleans"):
        read(tmp_path, write(state, {"0": np.array([0, 1, 2], "u1")}))


@pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])
def test_what_torch_saves_comes_back(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = collections.OrderedDict(whole=base, turned=base.T, part=base[1:3, ::2])
    state.update({str(dtype): base.to(dtype) for dtype in (torch.half, torch.double, torch.bool)})
    state.update(count=torch.tensor(7), none=torch.zeros(0, 3), brain=base.bfloat16())
    nested = collections.OrderedDict({"a": collections.OrderedDict(version=1), "a.b": {}})
    vars(state)["_metadata"] = nested
    path = tmp_path / "state.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    arrays = read_state_dict(path)
    assert list(arrays) == list(state)
    for name, values in state.items():
        assert str(arrays[name].dtype) == str(values.dtype).removeprefix("torch.")
        expected = values.float().numpy()
        np.testing.assert_array_equal(arrays[name].astype(np.float32), expected)
