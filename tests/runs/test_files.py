"""Files are whole or absent."""

import numpy as np
import pytest

from rfsq_jax.runs.files import atomic_path, read_json, write_json


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


def test_a_folder_replaces_a_folder(tmp_path):
    final = tmp_path / "folder"
    for content in ("one", "two"):
        with atomic_path(final) as temporary:
            temporary.mkdir()
            (temporary / "inside").write_text(content)
    assert (final / "inside").read_text() == "two"
    assert list(tmp_path.iterdir()) == [final]


def test_json_takes_numpy_and_refuses_nan(tmp_path):
    path = tmp_path / "values.json"
    write_json(path, {"array": np.arange(3), "scalar": np.float32(0.5), "path": tmp_path})
    assert read_json(path) == {"array": [0, 1, 2], "scalar": 0.5, "path": str(tmp_path)}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    assert read_json(path)["scalar"] == 0.5


def test_damaged_json_is_named(tmp_path):
    path = tmp_path / "values.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"values\.json is not valid JSON"):
        read_json(path)
