"""RLDS demonstrations: reads TFDS folders, those of OpenVLA's LIBERO data and of BridgeData V2.

A record is one episode, a tf.train.Example whose lists run over its steps.

Conventions, by `RldsFields`:
  gripper: LIBERO -1 open, +1 close, kept; BridgeData 0 closed to 1 open, turned into that.
  rotation: LIBERO rotation vectors, kept; BridgeData Euler angles about fixed axes, turned.
  deltas: LIBERO in the environment's units, kept; BridgeData in metres and radians, divided.
  no-ops: none is dropped here; OpenVLA's LIBERO data were filtered before, BridgeData were not.
  images: upright as stored; LIBERO's were turned by 180 degrees when they were written.

Axes: N steps · M frames wanted · K stored state dims · H, W image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int, UInt8

from rfsq_jax.data.episodes import ACTION_DIM, Episode, check_steps
from rfsq_jax.data.readers.jpeg import decode_any
from rfsq_jax.data.readers.rlds_fields import (
    BRIDGE,
    LIBERO,
    RldsFields,
    convert_actions,
    convert_state,
)
from rfsq_jax.data.readers.tfds import Shard, find_shards
from rfsq_jax.data.readers.tfrecord import Feature, parse_example, read_record, read_records

__all__ = ["BRIDGE", "LIBERO", "RldsFields", "read_frames", "read_rlds", "read_shard"]

Decode = Callable[[bytes], UInt8[np.ndarray, "h w 3"]]


def read_rlds(
    folder: Path, *, images: bool = False, split: str = "train", fields: RldsFields = LIBERO
) -> list[Episode]:
    """Reads every episode of a TFDS folder, in the order of its files.

    Args:
      folder: holds features.json, dataset_info.json and the .tfrecord files.
      images: whether to decode the images too.
      split: which of the folder's splits.
      fields: how the data set is laid out.

    Raises:
      FileNotFoundError: if the folder or one of its files does not exist.
      ValueError: if a file is damaged, or the folder is not laid out as `fields` says.
    """
    shards = find_shards(Path(folder), split, fields.widths())
    return [each for shard in shards for each in read_shard(shard, images=images, fields=fields)]


def read_shard(shard: Shard, *, images: bool = False, fields: RldsFields = LIBERO) -> list[Episode]:
    """Reads every episode of one file; arguments and errors as in `read_rlds`."""
    episodes = [
        _episode(_parse(data, shard.path, place), f"{shard.path.name}/{place}", images, fields)
        for place, data in enumerate(read_records(shard.path))
    ]
    if len(episodes) != shard.episodes:
        raise ValueError(f"{shard.path} must hold {shard.episodes} episodes, got {len(episodes)}")
    return episodes


def read_frames(
    path: Path,
    place: int,
    frames: Int[np.ndarray, " m"],
    fields: RldsFields = LIBERO,
    *,
    decode: Decode = decode_any,
) -> dict[str, UInt8[np.ndarray, "m h w 3"]]:
    """Decodes these steps' images of one episode of a file, by camera.

    Args:
      path: a TFRecord file.
      place: of the episode in it.
      frames: the steps.
      fields: how the data set is laid out.
      decode: makes pixels of a stored image; `data.jpeg.decode` does it as TensorFlow.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it has no such episode or steps, or the record is damaged.
    """
    source = f"{path.name}/{place}"
    try:
        data = read_record(path, place)
    except IndexError as error:
        raise ValueError(str(error)) from error
    record = _parse(data, path, place)
    return _images(record, source, fields, frames, decode)


def _parse(data: bytes, path: Path, place: int) -> dict[str, Feature]:
    try:
        return parse_example(data)
    except ValueError as error:
        raise ValueError(f"{path}: record {place} cannot be read: {error}") from error


def _episode(
    record: Mapping[str, Feature], source: str, images: bool, fields: RldsFields
) -> Episode:
    action = _numbers(record, "steps/action", source, ACTION_DIM)
    state = _numbers(record, "steps/observation/state", source, fields.state_dim, len(action))
    words = _bytes(record, "steps/language_instruction", source, len(action))
    every = np.arange(len(action))
    return Episode(
        actions=convert_actions(action, source, fields),
        state=convert_state(state, fields),
        instruction=_decoded_text(words[0], source),
        source=source,
        images=_images(record, source, fields, every) if images else None,
    )


def _images(
    record: Mapping[str, Feature],
    source: str,
    fields: RldsFields,
    frames: Int[np.ndarray, " m"],
    decode: Decode = decode_any,
) -> dict[str, UInt8[np.ndarray, "m h w 3"]]:
    steps = len(_numbers(record, "steps/action", source, ACTION_DIM))
    wrong = frames[(frames < 0) | (frames >= steps)]
    if len(wrong):
        raise ValueError(f"{source} must have a step {wrong[0]}, got {steps} steps")
    found = {}
    for camera, name in fields.images.items():
        encoded = _bytes(record, f"steps/observation/{name}", source, steps)
        pictures = [_decoded(encoded[frame], source, frame, decode) for frame in frames.tolist()]
        sizes = {each.shape for each in pictures}
        if len(sizes) > 1:
            raise ValueError(f"{source}: {name} must have images of one size, got {sorted(sizes)}")
        found[camera] = np.stack(pictures)
    return found


def _decoded(encoded: bytes, source: str, frame: int, decode: Decode) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return decode(encoded)
    except ValueError as error:
        raise ValueError(
            f"{source}: the image of step {frame} cannot be decoded: {error}"
        ) from error


def _decoded_text(text: bytes, source: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: the instruction must be UTF-8, got {text[:80]!r}") from error


def _numbers(
    record: Mapping[str, Feature], name: str, source: str, width: int, steps: int | None = None
) -> Float32[np.ndarray, "n {width}"]:
    """The values of a field, by step; `steps` None: as many as there are."""
    values = record.get(name)
    if isinstance(values, np.ndarray) and values.dtype == np.float32:
        rows = len(values) // width if steps is None else steps
        if rows and len(values) == rows * width:
            numbers = values.reshape(rows, width)
            check_steps(name, numbers, source, width)
            return numbers
    count = "N" if steps is None else steps
    got = "none" if values is None else f"{len(values)} values"
    raise ValueError(f"{source}: {name} must hold {count} x {width} float32, got {got}")


def _bytes(record: Mapping[str, Feature], name: str, source: str, steps: int) -> list[bytes]:
    values = record.get(name)
    if not isinstance(values, list) or len(values) != steps:
        got = "none" if values is None else len(values)
        raise ValueError(f"{source}: {name} must hold {steps} entries, one per step, got {got}")
    return values
