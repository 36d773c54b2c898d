"""Demonstrations and recorded actions, ours and other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.data.readers import jpeg
from rfsq_jax.data.readers.libero_hdf5 import read_frames, read_hdf5
from rfsq_jax.data.readers.recorded_actions import read_actions
from rfsq_jax.data.readers.rlds import Decode, read_rlds
from rfsq_jax.data.readers.rlds import read_frames as read_record_frames
from rfsq_jax.libero.demonstrations.bundled import read_bundle, write_bundle
from rfsq_jax.libero.demonstrations.hdf5 import read_demonstrations, write_hdf5
from tests.fuzz.registry import Format
from tests.support import rlds_folders
from tests.support.demonstrations import make_demonstration, write_original
from tests.support.recorded_actions import smooth_episodes, write_actions

CHECKED = "Read or refused with the file's name; values are checked, and nothing else is opened."


def _make_recorded(folder: Path, seed: int) -> None:
    write_actions(folder / "recorded.npz", smooth_episodes()[4 * seed : 4 * seed + 3])


def _make_original(folder: Path, seed: int) -> None:
    write_original(folder / "put_it_here_demo.hdf5", num_demos=2 + seed)


def _load_original(folder: Path) -> list[Any]:
    path = folder / "put_it_here_demo.hdf5"
    return [read_hdf5(path, images=True), read_frames(path, 0, np.array([0, 2]))]


def _demonstrations(seed: int) -> list[Any]:
    return [make_demonstration(10 * seed + number, images=True) for number in range(2)]


def _make_ours(folder: Path, seed: int) -> None:
    write_hdf5(folder / "put_the_cube_demo.hdf5", _demonstrations(seed))


def _load_ours(folder: Path) -> list[Any]:
    path = folder / "put_the_cube_demo.hdf5"
    return [read_demonstrations(path), read_hdf5(path, images=True)]


def _make_bundle(folder: Path, seed: int) -> None:
    write_bundle(folder / "libero_spatial.npz", _demonstrations(seed))


def _make_rlds(folder: Path, seed: int) -> None:
    rlds_folders.write_folder(folder, lengths=(4, 5, 3), num_shards=2, seed=seed)


def _load_rlds(folder: Path) -> Any:
    return read_rlds(folder, images=True)


def _picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)


def _picture_format(name: str, encode: Any, decode: Decode) -> Format:
    """A picture where it comes to us: within a record."""

    def load(folder: Path) -> Any:
        # Only a file's bytes get into a record.
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no picture at {folder / name}")
        content = (folder / name).read_bytes()
        pictures = {f"steps/observation/{view}": [content] for view in ("image", "wrist_image")}
        steps = rlds_folders.make_steps(0, 1)
        record = rlds_folders.encode_episode(steps, "do it", **pictures)
        path = folder / f"{name}.tfrecord-00000-of-00001"
        rlds_folders.write_records(path, [record])
        return read_record_frames(path, 0, np.array([0]), decode=decode)

    return Format(
        name=name.replace(".", "-"),
        make=lambda folder, seed: (folder / name).write_bytes(encode(_picture(seed))),
        load=load,
        promise="Decoded, or refused with the name of the episode; its size is checked first.",
    )


FORMATS = (
    Format(
        name="recorded-actions",
        make=_make_recorded,
        load=lambda folder: read_actions(folder / "recorded.npz"),
        promise=CHECKED,
    ),
    Format(name="libero-hdf5", make=_make_original, load=_load_original, promise=CHECKED),
    Format(
        name="our-hdf5",
        make=_make_ours,
        load=_load_ours,
        covered="*",
        exchange_noticed=False,
        promise="Every demonstration has a hash, every image a checksum; neither may differ.",
    ),
    Format(
        name="bundled-demonstrations",
        make=_make_bundle,
        load=lambda folder: read_bundle(folder / "libero_spatial.npz"),
        covered="*",
        exchange_noticed=False,
        promise="All of it is under a hash.",
    ),
    Format(
        name="rlds",
        make=_make_rlds,
        load=_load_rlds,
        covered="*.tfrecord-*",
        exchange_noticed=False,
        promise="Every record is checked against its checksum, and their number is that declared.",
    ),
    _picture_format("picture.png", rlds_folders.encode_picture, jpeg.decode_any),
    _picture_format("picture.jpg", jpeg.encode, jpeg.decode_any),
    _picture_format("tensorflow.jpg", jpeg.encode, jpeg.decode),
)
