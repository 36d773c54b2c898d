"""RLDS folders made by other people's code: protobuf's messages, tensorboardX's records."""

import io
import json
from typing import Any

import numpy as np
import PIL.Image
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboardX.record_writer import RecordWriter

INSTRUCTIONS = ("put the bowl on the plate", "open the drawer")
PACKAGE = "tests.example"


def _example_class() -> Any:
    """tf.train.Example, described as in TensorFlow's example.proto and feature.proto."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tests_example.proto", package=PACKAGE, syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields, parent=file.message_type):
        made = parent.add(name=name)
        for number, (label, kind, field, type_name) in enumerate(fields, start=1):
            made.field.add(name=field, number=number, label=label, type=kind, type_name=type_name)
        return made

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BytesList", (many, kinds.TYPE_BYTES, "value", None))
    message("FloatList", (many, kinds.TYPE_FLOAT, "value", None))
    message("Int64List", (many, kinds.TYPE_INT64, "value", None))
    lists = ("BytesList", "FloatList", "Int64List")
    feature = message(
        "Feature",
        *[(one, kinds.TYPE_MESSAGE, each[:-4].lower(), f".{PACKAGE}.{each}") for each in lists],
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    entry = f".{PACKAGE}.Features.FeatureEntry"
    features = message("Features", (many, kinds.TYPE_MESSAGE, "feature", entry))
    nested = message(
        "FeatureEntry",
        (one, kinds.TYPE_STRING, "key", None),
        (one, kinds.TYPE_MESSAGE, "value", f".{PACKAGE}.Feature"),
        parent=features.nested_type,
    )
    nested.options.map_entry = True
    message("Example", (one, kinds.TYPE_MESSAGE, "features", f".{PACKAGE}.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Example"))


Example = _example_class()


def encode_example(features) -> bytes:
    """Lists of bytes, floats or ints by name -> a serialised tf.train.Example."""
    example = Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if len(values) and isinstance(values[0], bytes):
            feature.bytes.value.extend(values)
        elif np.asarray(values).dtype.kind == "f":
            feature.float.value.extend(np.asarray(values).tolist())
        else:
            feature.int64.value.extend(np.asarray(values).tolist())
    return example.SerializeToString()


def write_records(path, records) -> None:
    """A TFRecord file."""
    writer = RecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.close()


def encode_picture(picture, encoding="PNG") -> bytes:
    """uint8 [H, W, 3] -> the bytes of a picture file; PNG loses nothing."""
    stream = io.BytesIO()
    PIL.Image.fromarray(picture).save(stream, encoding)
    return stream.getvalue()


def make_steps(seed, steps) -> dict[str, np.ndarray]:
    """Random actions (gripper -1 or +1), state and two views of noise."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (steps, 7)).astype(np.float32)
    actions[:, 6] = np.where(actions[:, 6] < 0, -1, 1)
    return {
        "action": actions,
        "state": rng.normal(size=(steps, 8)).astype(np.float32),
        "image": rng.integers(0, 256, (steps, 8, 8, 3), np.uint8),
        "wrist_image": rng.integers(0, 256, (steps, 8, 8, 3), np.uint8),
    }


def encode_episode(steps, instruction, **changes) -> bytes:
    """One record in the layout of OpenVLA's LIBERO data."""
    count = len(steps["action"])
    features = {
        "steps/action": steps["action"].ravel(),
        "steps/observation/state": steps["state"].ravel(),
        "steps/language_instruction": [instruction.encode()] * count,
        "steps/is_first": [1] + [0] * (count - 1),
        "steps/reward": [0.0] * (count - 1) + [1.0],
        "episode_metadata/file_path": [b"somewhere.hdf5"],
        **{
            f"steps/observation/{name}": [encode_picture(each) for each in steps[name]]
            for name in ("image", "wrist_image")
        },
    }
    return encode_example({**features, **changes})


def write_folder(
    folder, lengths=(12, 20, 15, 9, 30), num_shards=2, seed=0, instructions=INSTRUCTIONS
) -> list[dict]:
    """A folder of episodes over several files; returns what they hold, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    episodes = [make_steps([seed, number], steps) for number, steps in enumerate(lengths)]
    words = [instructions[number % len(instructions)] for number in range(len(lengths))]
    shards = np.array_split(np.arange(len(lengths)), num_shards)
    for number, places in enumerate(shards):
        name = f"libero_spatial-train.tfrecord-{number:05d}-of-{num_shards:05d}"
        write_records(
            folder / name, [encode_episode(episodes[each], words[each]) for each in places]
        )
    describe(folder, [len(places) for places in shards])
    return [{**steps, "instruction": word} for steps, word in zip(episodes, words, strict=True)]


def describe(folder, shard_lengths, state_dim=8) -> None:
    """features.json and dataset_info.json."""

    def tensor(*shape, dtype="float32"):
        return {"tensor": {"shape": {"dimensions": [str(each) for each in shape]}, "dtype": dtype}}

    picture = {"image": {"shape": {"dimensions": ["8", "8", "3"]}, "encodingFormat": "png"}}
    observation = {"state": tensor(state_dim), "image": picture, "wrist_image": picture}
    steps = {
        "action": tensor(7),
        "language_instruction": {"text": {}},
        "observation": {"featuresDict": {"features": observation}},
    }
    top = {"steps": {"sequence": {"feature": {"featuresDict": {"features": steps}}}}}
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": top}}))
    splits = [{"name": "train", "shardLengths": [str(each) for each in shard_lengths]}]
    (folder / "dataset_info.json").write_text(json.dumps({"splits": splits}))
