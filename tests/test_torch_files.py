"""Tensors out of pickles that may run nothing."""

import collections
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfsq_jax.torch_files import read_state_dict


def save(path: Path, state: dict) -> Path:
    torch = pytest.importorskip("torch")
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = collections.OrderedDict(
        whole=base,
        turned=base.T,
        part=base[1:3, ::2],
        half=base.half(),
        double=base.double(),
        count=torch.tensor(7),
        none=torch.zeros(0, 3),
    )
    state._metadata = {"": {"version": 1}}
    return state, save(tmp_path_factory.mktemp("torch") / "state.pth", state)


def test_tensors_come_back_whatever_their_dtype_and_strides(stored):
    state, path = stored
    arrays = read_state_dict(path)
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        assert arrays[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


class Runs:
    """A pickle of it calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def legacy(body: bytes, rest: bytes = b"") -> bytes:
    header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(each, protocol=2) for each in header) + body + rest


@pytest.mark.parametrize("place", ["body", "header"])
def test_nothing_is_ever_run(tmp_path, place):
    proof = tmp_path / "proof"
    attack = pickle.dumps({"x": Runs(os.system, f"touch {proof}")}, protocol=2)
    path = tmp_path / "attack.pth"
    path.write_bytes(legacy(attack) if place == "body" else attack)
    with pytest.raises(ValueError, match=r"attack\.pth.*asks for .*system"):
        read_state_dict(path)
    assert not proof.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_file_cut_short_is_refused(stored, tmp_path, data):
    content = stored[1].read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"cut\.pth"):
        read_state_dict(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.binary(max_size=200))
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "garbage.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"garbage\.pth"):
        read_state_dict(path)


def test_other_formats_and_contents_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"no file of tensors|not of the format"):
        read_state_dict(path)
    save(path, {"a": 3})
    with pytest.raises(ValueError, match="must hold a dict of tensors"):
        read_state_dict(path)


def storage_file(size: int, offset: int, shape: tuple, strides: tuple) -> bytes:
    """A file with one tensor of one storage, whose claims are ours to choose."""

    def opcodes(value) -> bytes:
        """A plain value's opcodes, without the protocol's header and the final stop."""
        return pickle.dumps(value, protocol=2)[2:-1]

    storage = b"(" + opcodes("storage") + b"ctorch\nFloatStorage\n"
    storage += opcodes("0") + opcodes("cpu") + opcodes(size) + b"NtQ"
    arguments = b"(" + storage + opcodes(offset) + opcodes(shape) + opcodes(strides) + b"t"
    body = b"\x80\x02}" + opcodes("x") + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."
    contents = struct.pack("<q", 4) + np.arange(4, dtype="<f4").tobytes()
    return legacy(body, pickle.dumps(["0"], protocol=2) + contents)


def test_a_hand_made_file_reads_without_torch(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(storage_file(4, 1, (3,), (1,)))
    np.testing.assert_array_equal(read_state_dict(path)["x"], [1, 2, 3])


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ((10**12, 0, (3,), (1,)), "more than the file"),
        ((4, 0, (5,), (1,)), "beyond its storage"),
        ((4, -1, (2,), (1,)), "beyond its storage"),
        ((4, 2, (2, 2), (2, 1)), "beyond its storage"),
        ((4, 3, (2,), (-1,)), "beyond its storage"),
        ((5, 0, (2,), (1,)), "is cut short"),
    ],
)
def test_claims_beyond_the_file_are_refused(tmp_path, claims, message):
    path = tmp_path / "x.pth"
    path.write_bytes(storage_file(*claims))
    with pytest.raises(ValueError, match=message):
        read_state_dict(path)
