"""Files of demonstrations that lead elsewhere, declare what they do not hold, or are damaged."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from rfsq_jax.data.readers import hdf5_files
from rfsq_jax.data.readers.libero_hdf5 import read_frames, read_hdf5
from rfsq_jax.libero.demonstrations.hdf5 import (
    merge_hdf5,
    read_attempts,
    read_demonstrations,
    write_hdf5,
)
from tests.support.demonstrations import make_demonstration, write_original
from tests.support.hdf5 import as_first_format

ACTIONS = "data/demo_0/actions"
DAMAGED = r"task_demo\.hdf5 is damaged or not laid out like LIBERO's demonstrations: "


@pytest.fixture
def path(tmp_path) -> Path:
    written = tmp_path / "task_demo.hdf5"
    write_original(written, num_demos=2)
    return written


def replace(file: h5py.File, name: str, **settings: object) -> None:
    del file[name]
    file.create_dataset(name, **settings)


def external_link(file: h5py.File) -> None:
    del file[ACTIONS]
    file[ACTIONS] = h5py.ExternalLink("other.hdf5", "/actions")


def linked_group(file: h5py.File) -> None:
    file.move("data", "elsewhere")
    file["data"] = h5py.SoftLink("/elsewhere")


def soft_link(file: h5py.File) -> None:
    file.move(ACTIONS, "moved")
    file[ACTIONS] = h5py.SoftLink("/moved")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 7), np.float64)
    layout[:] = h5py.VirtualSource("other.hdf5", "actions", (4, 7))
    del file[ACTIONS]
    file.create_virtual_dataset(ACTIONS, layout)


def external_storage(file: h5py.File) -> None:
    replace(file, ACTIONS, shape=(4, 7), dtype="f8", external=[("/dev/zero", 0, 4 * 7 * 8)])


LEADS_ELSEWHERE: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "external link": (external_link, f"{ACTIONS} must lie in the file itself, got a link"),
    "soft link": (soft_link, f"{ACTIONS} must lie in the file itself, got a link"),
    "linked group": (linked_group, "data must lie in the file itself, got a link"),
    "virtual": (virtual, f"{ACTIONS} must hold its values itself, got a pointer"),
    "external": (external_storage, f"{ACTIONS} must hold its values itself, got a pointer"),
}


@pytest.mark.parametrize("case", LEADS_ELSEWHERE.values(), ids=LEADS_ELSEWHERE.keys())
def test_what_lies_elsewhere_is_refused(path, case):
    change, message = case
    with h5py.File(path.with_name("other.hdf5"), "w") as other:
        other["actions"] = np.zeros((4, 7))
    with h5py.File(path, "r+") as file:
        change(file)
    for read in (read_hdf5, lambda name: read_frames(name, 0, np.array([0]))):
        with pytest.raises(ValueError, match=DAMAGED + message):
            read(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (4, 7), "dtype": "f8"}, "declares 224 bytes, of which 0 are stored"),
        (
            {"shape": (90_000, 70), "dtype": "f8", "chunks": (9, 7), "compression": "gzip"},
            "declares 50400000 bytes, of which 0 are stored",
        ),
        ({"shape": (100_001, 1), "dtype": "f8"}, "declares 800008 bytes, of which 0"),
        ({"data": np.zeros((100_001, 1))}, "must have at most 100000 steps"),
        ({"shape": (2**40, 2**10), "dtype": "f8", "chunks": (4, 7)}, "must have at most .* bytes"),
        (
            {"shape": (4, 7), "dtype": "f8", "chunks": (2**13,) * 2, "maxshape": (None, None)},
            "must have at most .* bytes",
        ),
        ({"data": np.zeros((4, 7), int)}, "must have kind 'f' .* got int64"),
        ({"data": np.zeros(4)}, r"must have kind 'f' and shape .* got float64 \(4,\)"),
        ({"data": h5py.Empty("f8")}, "must have kind 'f' .* got float64 None"),
        ({"shape": (1, 1), "dtype": h5py.ref_dtype}, "declares 8 bytes, of which 0 are stored"),
        ({"data": [["words"]], "dtype": h5py.string_dtype()}, "must have kind 'f' .* got object"),
        (
            {"data": np.zeros((4, 7)), "chunks": (4, 7), "scaleoffset": 2},
            "is stored through filters",
        ),
    ],
    ids=str,
)
def test_arrays_that_are_no_actions_are_refused(path, settings, message):
    with h5py.File(path, "r+") as file:
        replace(file, ACTIONS, **settings)
    with pytest.raises(ValueError, match=DAMAGED + f"{ACTIONS} {message}"):
        read_hdf5(path)


def test_what_is_packed_twice_is_refused(path, monkeypatch):
    monkeypatch.setattr(hdf5_files, "MAX_RATIO", 2)
    with h5py.File(path, "r+") as file:
        replace(file, ACTIONS, data=np.zeros((400, 7)), compression="gzip")
    with pytest.raises(ValueError, match=rf"{ACTIONS} declares 22400 bytes, of which \d+ are"):
        read_hdf5(path)


@pytest.mark.parametrize("name", ["demo_x", "demo_", "demo_01", "demo_-1", "demo_9999999999"])
def test_demonstrations_have_numbers(path, name):
    with h5py.File(path, "r+") as file:
        file.move("data/demo_1", f"data/{name}")
    with pytest.raises(ValueError, match=rf"must hold groups data/demo_<number>, got {name}$"):
        read_hdf5(path)


@pytest.mark.parametrize(
    ("place", "frames", "message"),
    [
        (2, [0], "must have a demonstration 2, got 2"),
        (-1, [0], "must have a demonstration -1, got 2"),
        (1, [0, 4], r"demo_1 must have steps 0\.\.4, got 4 steps"),
        (1, [-1, 0], r"demo_1 must have steps -1\.\.0, got 4 steps"),
    ],
)
def test_places_and_steps_that_are_not_there_are_named(path, place, frames, message):
    with pytest.raises(ValueError, match=rf"task_demo\.hdf5.*{message}"):
        read_frames(path, place, np.array(frames))


def test_images_and_sensors_have_as_many_steps_as_actions(path):
    with h5py.File(path, "r+") as file:
        replace(file, "data/demo_1/obs/agentview_rgb", data=np.zeros((3, 6, 6, 3), np.uint8))
    assert len(read_hdf5(path)) == 2
    with pytest.raises(
        ValueError, match=r"demo_1 must have images of all steps, 4, got 3 in agent"
    ):
        read_hdf5(path, images=True)
    with h5py.File(path, "r+") as file:
        replace(file, "data/demo_1/obs/ee_states", data=np.zeros((3, 6)))
    with pytest.raises(ValueError, match=r"ee_states and gripper_states .* got 3 and 4"):
        read_hdf5(path)


def test_numbers_beyond_float32_are_named(path):
    with h5py.File(path, "r+") as file:
        replace(file, ACTIONS, data=np.full((4, 7), 1e300))
    with pytest.raises(ValueError, match=r"demo_0: actions must be finite"):
        read_hdf5(path)


@pytest.mark.parametrize(
    ("where", "name", "value", "message"),
    [
        ("data", "task_index", None, "attribute task_index cannot be read"),
        ("data", "task_index", "three", "attribute task_index must be a number, got 'three'"),
        ("data", "task_index", 1.5, "attribute task_index must be a number"),
        ("data", "task_name", 3, "attribute task_name must be a string"),
        ("data", "task_name", h5py.Empty("S3"), "attribute task_name cannot be read"),
        ("data/demo_0", "seed", -1, "attribute seed must be a number"),
        ("data/demo_0", "fixtures", np.zeros(7), r"fixtures must be float64 \(None, 7\)"),
        ("data/demo_0", "start_state", np.full(11, np.nan), "start_state must be finite"),
        ("data/demo_0", "final_state", np.zeros(3), r"final_state must be float64 \(11,\)"),
    ],
)
def test_attributes_that_are_none_of_ours_are_named(tmp_path, where, name, value, message):
    path = tmp_path / "task_demo.hdf5"
    write_hdf5(path, [make_demonstration(0)])
    as_first_format(path)
    with h5py.File(path, "r+") as file:
        del file[where].attrs[name]
        if value is not None:
            file[where].attrs[name] = value
    with pytest.raises(ValueError, match=rf"{DAMAGED}{where}/.*{message}"):
        read_demonstrations(path)
    with pytest.raises(ValueError, match=rf"{DAMAGED}data/attribute attempts cannot be read"):
        read_attempts(path)


def test_parts_that_lead_elsewhere_are_not_merged(tmp_path):
    part = tmp_path / "task_demo.hdf5"
    write_hdf5(part, [make_demonstration(0, images=True)])
    as_first_format(part)
    with h5py.File(part, "r+") as file:
        file["data/demo_0/more/and/more"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"task_demo\.hdf5: .*more/and must be an array"):
        merge_hdf5(tmp_path / "all.hdf5", [part], attempts=1)
    with h5py.File(part, "r+") as file:
        del file["data/demo_0/more"]
        external_storage(file)
    with pytest.raises(ValueError, match=f"{ACTIONS} must hold its values itself"):
        merge_hdf5(tmp_path / "all.hdf5", [part], attempts=1)
    assert list(tmp_path.iterdir()) == [part]


def test_a_heap_of_strings_that_never_ends_is_refused(tmp_path):
    path = tmp_path / "task_demo.hdf5"
    write_hdf5(path, [make_demonstration(0)])
    content = path.read_bytes()
    heap = content.index(b"GCOL\x01")
    (free,) = (at for at in range(heap + 16, heap + 4096, 8) if is_free(content, heap, at))
    path.write_bytes(content[: free + 8] + bytes(8) + content[free + 16 :])
    with pytest.raises(ValueError, match=rf"instruction cannot be read: the heap at byte {heap}"):
        read_hdf5(path)


@pytest.mark.parametrize("length", [2**20 + 1, 2**31, 2**32 - 1])
def test_a_string_that_declares_too_much_is_refused_before_memory_is_asked_for(tmp_path, length):
    path = tmp_path / "task_demo.hdf5"
    write_hdf5(path, [make_demonstration(0)])
    content, told = path.read_bytes(), b"put the cube on the plate"
    heap = content.index(b"GCOL\x01")
    place = content.index(struct.pack("<IQ", len(told), heap))
    path.write_bytes(content[:place] + struct.pack("<I", length) + content[place + 4 :])
    with pytest.raises(ValueError, match=rf"must have at most 1048576 bytes, got {length}"):
        read_demonstrations(path)


def is_free(content: bytes, heap: int, at: int) -> bool:
    """Whether the rest of a heap of 4096 bytes, from `at` on, is said to be free."""
    return content[at : at + 16] == struct.pack("<HHIQ", 0, 0, 0, heap + 4096 - at)


def test_any_damage_is_an_error_that_names_the_file(tmp_path):
    """The format has no checksum of numbers: what is damaged may be read as other numbers."""
    whole, numbers = tmp_path / "whole.hdf5", random.Random(0)
    write_hdf5(whole, [make_demonstration(0, images=True)])
    refused = 0
    for count in range(60):
        damaged = bytearray(whole.read_bytes())
        for _ in range(numbers.choice([1, 5, 20])):
            damaged[numbers.randrange(len(damaged))] ^= 1 << numbers.randrange(8)
        path = tmp_path / f"{count}.hdf5"
        path.write_bytes(damaged)
        for read in (read_hdf5, read_demonstrations):
            try:
                read(path)
            except ValueError as error:
                refused += 1
                assert path.name in str(error)  # noqa: PT017
    assert refused
