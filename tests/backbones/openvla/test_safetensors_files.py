"""Files by the format's own library are read as they are; damaged ones are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.backbones.openvla.safetensors_files import open_safetensors, open_sharded

DTYPES = ("float32", "float16", "bfloat16")


def write(path: Path, header: Any, body: bytes = bytes(16)) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + body)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}


def test_what_the_library_writes_comes_back(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=(3, 5)).astype(jnp.dtype(name)) for name in DTYPES}
    # A name of any length moves the data, also to where no number is aligned.
    for length in range(1, 9):
        library.save_file(tensors, tmp_path / "x", {"note": "n" * length})
        found = open_safetensors(tmp_path / "x")
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{", "damaged header"),
        (b"[]", "damaged header: it is no table"),
        ({}, "has no tensors"),
        ({"x": 1}, "x has a damaged entry"),
        ({"x": {"dtype": "F32"}}, "x has a damaged entry"),
        ({"x": entry(dtype="I64")}, "x must be one of F32, F16, BF16, got 'I64'"),
        ({"x": entry(shape=[2, 3])}, r"x of shape \(2, 3\) cannot have 16 bytes"),
        ({"x": entry(shape=[-2, -2])}, "x has a damaged entry"),
        ({"x": entry(data_offsets=[-16, 0])}, "x has a damaged entry"),
        (b"\xff{}", "damaged header: it is not valid JSON: 'utf-8' codec"),
        (b"[" * 100_000, "damaged header: it is not valid JSON: maximum recursion"),
        (b'{"x": 1, "x": 2}', "damaged header: .* key 'x' is given twice"),
        (b'{"x": NaN}', "damaged header: .* must be finite, got NaN"),
        (b'{"x": ' + b"9" * 5000 + b"}", "damaged header: .*Exceeds the limit"),
        ({"x": entry(dtype=["F32"])}, "x must be one of F32"),
        ({"x": entry(shape="22")}, "x has a damaged entry"),
        ({"x": entry(shape=[True, 4])}, "x has a damaged entry"),
        ({"x": entry(shape=[0, 4], data_offsets=[0, 0])}, "x has a damaged entry"),
        ({"x": entry(shape=[1] * 9 + [4])}, "x has a damaged entry"),
        ({"x": entry(shape=[2**32, 2**32, 4])}, r"x of shape .* cannot have 16 bytes"),
        ({"x": entry(shape=[2**63, 4])}, "x has a damaged entry"),
        ({"x": entry(), "y": entry()}, r"y must begin .* at byte (\d+), got (?!\1)"),
        ({"x": entry(shape=[2], data_offsets=[8, 16])}, "x must begin where the tensor before"),
        ({"x": entry(shape=[2], data_offsets=[0, 8])}, r"must end with its last tensor, at byte"),
        ({"x": entry(data_offsets=[4, 20])}, r"cut short, at byte \d+: x should end at byte \d+"),
    ],
)
def test_damage_is_named(tmp_path: Path, header: Any, message: str) -> None:
    path = write(tmp_path / "shard.safetensors", header)
    with pytest.raises(ValueError, match=rf"shard\.safetensors.*{message}"):
        open_safetensors(path)


def test_every_cut_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "shard.safetensors", {"x": entry()})
    content = path.read_bytes()
    assert list(open_safetensors(path)) == ["x"]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"shard\.safetensors is cut short"):
            open_safetensors(path)


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", {"x": entry()})
    assert list(open_sharded(tmp_path)) == ["x"]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is no index of shards"),
        ("[]", "is no index of shards"),
        ("{}", "must have a weight_map"),
        (b"\xff", "is no index of shards: .*'utf-8' codec"),
        ("[" * 100_000, "is no index of shards: .*maximum recursion"),
        (
            '{"weight_map": {"x": "a", "x": "b"}}',
            "is no index of shards: .* key 'x' is given twice",
        ),
        ({"x": "../a"}, r"must give a file name for x, got '\.\./a'"),
        ({"x": ".."}, r"must give a file name for x, got '\.\.'"),
        ({}, "must have a weight_map"),
        ({"x": 1}, "must give a file name for x, got 1"),
        ({"x": "a", "y": "a", "lost": "a"}, r"does not fit its shards: lost not in a$"),
        ({"x": "a"}, r"does not fit its shards: y in a but not in the index$"),
        ({"x": "a", "y": "b"}, r"shards: y in a but not in the index; x in b but not"),
        ({"x": "a", "y": "c"}, "c is missing"),
    ],
)
def test_an_index_that_does_not_fit_is_named(tmp_path: Path, index: Any, message: str) -> None:
    for name in ("a", "b"):
        header = {"x": entry(), "y": entry(data_offsets=[16, 32])}
        write(tmp_path / name, header, bytes(32))
    text = index if isinstance(index, str | bytes) else json.dumps({"weight_map": index})
    raw = text.encode() if isinstance(text, str) else text
    (tmp_path / "model.safetensors.index.json").write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        open_sharded(tmp_path)
