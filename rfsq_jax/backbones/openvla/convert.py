"""Makes an Orbax copy of a published checkpoint, which loads faster and straight to its shards.

    python -m rfsq_jax.backbones.openvla.convert --checkpoint DIR --output DIR

The copy stands wherever the checkpoint's folder can; features and policies made with the one fit
the other.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rfsq_jax.backbones.openvla.checkpoint import (
    Tensors,
    detect,
    open_tensors,
    read_stack,
    weights_digest,
)
from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.hub import resolve_checkpoint
from rfsq_jax.backbones.openvla.layout import parameter_table
from rfsq_jax.backbones.openvla.orbax_copy import (
    Origin,
    is_converted,
    list_files,
    write_arrays,
    write_origin,
)
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.files import atomic_folder
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.terminal import progress_bar

COMMAND = "rfsq_jax.backbones.openvla.convert"
SMALL_FILES = ("*.json", "tokenizer.model")
INDEX = "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """What to copy.

    Attributes:
      checkpoint: folder as published, or its name on the Hugging Face hub.
      output: folder of the copy; must not exist.
    """

    checkpoint: Path
    output: Path


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Writes the copy and prints its size and how long it took."""
    config = parse(ConvertConfig, argv, command=COMMAND, description=__doc__)
    start = time.perf_counter()
    with user_errors(COMMAND):
        written = convert(resolve_checkpoint(config.checkpoint), config.output)
    print(f"{config.output}: {written:,} bytes in {time.perf_counter() - start:.1f} s")
    return 0


def convert(folder: Path, output: Path) -> int:
    """Writes a copy of `folder`, whole or not at all; returns the bytes of its parameters.

    The host never holds more than one parameter, in the dtype that it was published in.

    Raises:
      ValueError: if `output` exists, or `folder` is a copy itself or damaged.
    """
    if is_converted(folder):
        raise ValueError(f"checkpoint must be as published, got a copy: {folder}")
    if output.exists():
        raise ValueError(f"output must not exist, got {output}")
    config = detect(folder)
    tensors = open_tensors(folder, config)
    with atomic_folder(output, own=()) as temporary:
        _copy_small_files(folder, temporary)
        write_arrays(temporary, _arrays(config, tensors))
        files = list_files(temporary)
        write_origin(
            temporary, Origin(weights_digest(config, tensors).hexdigest(), config.oft, files)
        )
        return sum(files.values())


def _arrays(config: OpenVLAConfig, tensors: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    table = parameter_table(config)
    with progress_bar(len(table), "copying", "parameter") as bar:
        for path, leaf in table.items():
            several = tensors[leaf.file]
            dtype = np.result_type(*(several[key].dtype for key in leaf.keys))
            whole = (slice(None),) * len(leaf.shape)
            yield path, read_stack(leaf, several, whole, dtype)
            bar.update(1)


def _copy_small_files(folder: Path, target: Path) -> None:
    for pattern in SMALL_FILES:
        for path in sorted(folder.glob(pattern)):
            if path.name != INDEX:
                shutil.copyfile(path, target / path.name)


if __name__ == "__main__":
    sys.exit(main())
