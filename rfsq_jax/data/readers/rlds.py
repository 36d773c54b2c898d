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

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int, UInt8
from scipy.spatial.transform import Rotation

from rfsq_jax.data.episodes import ACTION_DIM, METRES_PER_ACTION, RADIANS_PER_ACTION, Episode
from rfsq_jax.data.readers.jpeg import decode_any
from rfsq_jax.data.readers.tfds import Shard, find_shards
from rfsq_jax.data.readers.tfrecord import Feature, parse_example, read_record, read_records

Decode = Callable[[bytes], UInt8[np.ndarray, "h w 3"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RldsFields:
    """Where a data set keeps what an `Episode` needs, and in which convention.

    Attributes:
      images: names of the images under steps/observation, by our camera.
      state_dim: K; position (3), rotation (3), then one or two numbers of the gripper.
      rotation: "axis_angle", or "euler" (roll, pitch, yaw about fixed axes), of state and action.
      gripper: "signed" (-1 open, +1 close), or "opening" (0 closed, 1 open).
      metres: what a translation of 1.0 in an action moves.
      radians: what a rotation of 1.0 in an action turns.
    """

    images: Mapping[str, str]
    state_dim: int
    rotation: Literal["axis_angle", "euler"]
    gripper: Literal["signed", "opening"]
    metres: float
    radians: float

    def widths(self) -> dict[str, int | None]:
        """The fields that are read, each with its numbers per step; None for bytes."""
        images = {f"steps/observation/{name}": None for name in self.images.values()}
        numbers = {"steps/action": ACTION_DIM, "steps/observation/state": self.state_dim}
        return {**numbers, "steps/language_instruction": None, **images}


LIBERO = RldsFields(
    images={"agentview": "image", "robot0_eye_in_hand": "wrist_image"},
    state_dim=8,
    rotation="axis_angle",
    gripper="signed",
    metres=METRES_PER_ACTION,
    radians=RADIANS_PER_ACTION,
)
"""OpenVLA's modified_libero_rlds."""

BRIDGE = RldsFields(
    images={"agentview": "image_0"},
    state_dim=7,
    rotation="euler",
    gripper="opening",
    metres=1.0,
    radians=1.0,
)
"""BridgeData V2. Its one number for the gripper, 0 to 1, stands for both fingers: +g and -g."""


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
      FileNotFoundError, IndexError: if there is no such file or episode.
      ValueError: if the record is damaged.
    """
    source = f"{path.name}/{place}"
    record = _parse(read_record(path, place), path, place)
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
        actions=_actions(action, source, fields),
        state=_state(state, fields),
        instruction=words[0].decode() if words else "",
        source=source,
        images=_images(record, source, fields, every) if images else None,
    )


def _actions(
    stored: Float32[np.ndarray, "n 7"], source: str, fields: RldsFields
) -> Float32[np.ndarray, "n 7"]:
    """Into the environment's units, the gripper -1 open and +1 close."""
    translation = stored[:, :3] * (fields.metres / METRES_PER_ACTION)
    rotation = _rotation_vector(stored[:, 3:6] * fields.radians, fields) / RADIANS_PER_ACTION
    gripper = _gripper(stored[:, 6:], source, fields)
    return np.concatenate([translation, rotation, gripper], axis=1).astype(np.float32)


def _gripper(
    stored: Float32[np.ndarray, "n 1"], source: str, fields: RldsFields
) -> Float32[np.ndarray, "n 1"]:
    if fields.gripper == "opening":
        allowed, expected = (stored >= 0) & (stored <= 1), "0 (closed) to 1 (open)"
    else:
        # A data set whose gripper is 0 or 1 would pass for one that never opens.
        allowed, expected = np.abs(stored) == 1, "-1 (open) or +1 (closed)"
    if not allowed.all():
        step = int(np.flatnonzero(~allowed)[0])
        raise ValueError(
            f"{source}: the gripper's action must be {expected}, got {stored[step, 0]} "
            f"at step {step}"
        )
    return 1 - 2 * stored if fields.gripper == "opening" else stored


def _state(stored: Float32[np.ndarray, "n k"], fields: RldsFields) -> Float32[np.ndarray, "n 8"]:
    fingers = stored[:, 6:]
    if fingers.shape[1] == 1:
        fingers = np.concatenate([fingers, -fingers], axis=1)
    rotation = _rotation_vector(stored[:, 3:6], fields)
    return np.concatenate([stored[:, :3], rotation, fingers], axis=1).astype(np.float32)


def _rotation_vector(
    angles: Float32[np.ndarray, "n 3"], fields: RldsFields
) -> Float32[np.ndarray, "n 3"]:
    if fields.rotation == "axis_angle":
        return angles
    return Rotation.from_euler("xyz", angles).as_rotvec().astype(np.float32)


def _images(
    record: Mapping[str, Feature],
    source: str,
    fields: RldsFields,
    frames: Int[np.ndarray, " m"],
    decode: Decode = decode_any,
) -> dict[str, UInt8[np.ndarray, "m h w 3"]]:
    steps = len(_numbers(record, "steps/action", source, ACTION_DIM))
    found = {}
    for camera, name in fields.images.items():
        encoded = _bytes(record, f"steps/observation/{name}", source, steps)
        found[camera] = np.stack(
            [_decoded(encoded[frame], source, frame, decode) for frame in frames.tolist()]
        )
    return found


def _decoded(encoded: bytes, source: str, frame: int, decode: Decode) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return decode(encoded)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{source}: the image of step {frame} cannot be decoded: {error}"
        ) from error


def _numbers(
    record: Mapping[str, Feature], name: str, source: str, width: int, steps: int | None = None
) -> Float32[np.ndarray, "n {width}"]:
    """The values of a field, by step; `steps` None: as many as there are."""
    values = record.get(name)
    if isinstance(values, np.ndarray) and values.dtype == np.float32:
        rows = len(values) // width if steps is None else steps
        if len(values) == rows * width:
            return values.reshape(rows, width)
    count = "N" if steps is None else steps
    got = "none" if values is None else f"{len(values)} values"
    raise ValueError(f"{source}: {name} must hold {count} x {width} float32, got {got}")


def _bytes(record: Mapping[str, Feature], name: str, source: str, steps: int) -> list[bytes]:
    values = record.get(name)
    if not isinstance(values, list) or len(values) != steps:
        got = "none" if values is None else len(values)
        raise ValueError(f"{source}: {name} must hold {steps} entries, one per step, got {got}")
    return values
