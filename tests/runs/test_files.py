"""Files are whole or absent, and JSON is what was written."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.runs.descriptions import SEAL, sealed, unseal
from rfsq_jax.runs.files import atomic_path, read_bounded
from rfsq_jax.runs.json_files import parse_json, read_json, write_json


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    final = tmp_path / "deep" / "file"
    with atomic_path(final) as temporary:
        temporary.write_text("one")
        assert not final.exists()
    assert final.read_text() == "one"
    assert [path.name for path in final.parent.iterdir()] == ["file"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    final = tmp_path / "file"
    final.write_text("old")
    with pytest.raises(OSError, match="full"):
        fill_the_disk(final)
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def fill_the_disk(final):
    with atomic_path(final) as temporary:
        temporary.write_text("half")
        raise OSError("full")


def test_json_takes_numpy_and_refuses_nan(tmp_path):
    path = tmp_path / "values.json"
    write_json(path, {"array": np.arange(3), "scalar": np.float32(0.5), "path": tmp_path})
    assert read_json(path) == {"array": [0, 1, 2], "scalar": 0.5, "path": str(tmp_path)}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    assert read_json(path)["scalar"] == 0.5


def test_a_link_to_a_file_stays_a_link(tmp_path):
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    write_json(link, 1)
    assert link.is_symlink()
    assert read_json(target) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Expecting property name"),
        (b"\xff{}", "invalid start byte"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[" * 100_000, "recursion"),
        (b'{"a": NaN}', "must be finite, got NaN"),
        (b'{"a": 1e999}', "must be finite, got 1e999"),
        (b'{"a": -Infinity}', "must be finite, got -Infinity"),
        (b'{"a": 1, "b": 2, "a": 3}', "key 'a' is given twice"),
        (b"1" * 10_000, "4300 digits"),
    ],
)
def test_damaged_json_is_named(tmp_path, content, reason):
    path = tmp_path / "values.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"values\.json is not valid JSON: .*{reason}"):
        read_json(path)


def test_only_regular_files_of_a_sensible_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b"12345")
    for name in ("pipe", "loop", "."):
        with pytest.raises(ValueError, match="must be a regular file"):
            read_json(tmp_path / name)
    with pytest.raises(ValueError, match="large must have at most 4 bytes, got 5"):
        read_bounded(tmp_path / "large", 4)
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_json(tmp_path / "absent")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_a_seal_covers_all_but_order_and_white_space(table):
    table.pop(SEAL, None)
    written = sealed(table)
    text = json.dumps(dict(reversed(written.items())), indent=7)
    unseal("here", parse_json(text.encode(), "here"))
    with pytest.raises(ValueError, match="here is damaged"):
        unseal("here", {**written, "one more": 1})
    for key in table:
        with pytest.raises(ValueError, match="here is damaged"):
            unseal("here", {**written, key: [table[key]]})
