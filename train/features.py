"""Makes frozen features of demonstrations, once, for every training of heads.

python -m train.features --config configs/small.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import multihost_utils

from rfsq_jax.backbones import make_backbone
from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.data.readers.jpeg import require_decoder
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.extract import Tally, extract, finished_bytes, shard_folder
from rfsq_jax.features.frames import Clip, load_recordings, make_clips, shards_of
from rfsq_jax.features.store import MANIFEST, Manifest
from rfsq_jax.runs.files import write_json
from rfsq_jax.runs.options import parse_with_file, user_errors
from rfsq_jax.runs.results import claim_folder, write_results
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.training.heads.config import PolicyRun

COMMAND = "train.features"


Shards = Sequence[Sequence[Clip]]


def open_run(run: FeaturesRun, backbone: Backbone, tokenizer: ActionTokenizer) -> Shards:
    """Claims the run's folder and reads what is to be seen.

    Raises:
      FileNotFoundError: if there are no demonstrations.
      ValueError: if the tokenizer's chunks have another length than the run's, the folder holds
        another run, or the demonstrations are damaged.
      DecoderMissingError: if simplejpeg is needed and not installed.
    """
    if run.as_tensorflow:
        require_decoder()
    if tokenizer.horizon != run.horizon:
        raise ValueError(
            f"horizon must be the tokenizer's ({tokenizer.horizon}), got {run.horizon}"
        )
    statistics = tokenizer.normalization.to_dict()
    identity = {"backbone_version": backbone.spec.version, "action_statistics": statistics}
    claim_folder(run.output, {**run.identity(), **identity})
    return shards_of(run, make_clips(run, load_recordings(run)))


def make_features(
    run: FeaturesRun, backbone: Backbone, tokenizer: ActionTokenizer, shards: Shards
) -> None:
    """Makes what is missing in the run's folder, then writes its manifest and figures."""
    spec = backbone.spec
    instructions = _instructions(shards)
    began = time.perf_counter()
    tally = extract(run, backbone, shards, instructions)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("features")
    if jax.process_index() == 0:
        size = finished_bytes(run.output, len(shards))
        manifest = Manifest(
            backbone=spec.name,
            version=spec.version,
            depths=spec.depths,
            action_statistics=tokenizer.normalization,
            dtype=run.dtype,
            instructions=instructions,
            shards=tuple(shard_folder(run.output, index).name for index in range(len(shards))),
        )
        write_json(run.output / MANIFEST, manifest.to_dict())
        _show(run, shards, tally, size, time.perf_counter() - began)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    run = parse_with_file(
        FeaturesRun,
        argv,
        command=COMMAND,
        description=__doc__,
        part=(PolicyRun, "features"),
    )
    with user_errors(COMMAND):
        backbone = make_backbone(run.backbone, run.options, run.checkpoint)
        tokenizer = ActionTokenizer.from_pretrained(run.tokenizer)
        shards = open_run(run, backbone, tokenizer)
    make_features(run, backbone, tokenizer, shards)
    return 0


def _instructions(shards: Shards) -> tuple[str, ...]:
    return tuple(sorted({clip.recording.instruction for clips in shards for clip in clips}))


def _show(run: FeaturesRun, shards: Shards, tally: Tally, size: int, seconds: float) -> None:
    clips = [clip for shard in shards for clip in shard]
    figures: dict[str, Any] = {
        "episodes": len(clips),
        "held_out_episodes": sum(clip.held_out for clip in clips),
        "frames": sum(len(clip.frames) for clip in clips),
        "bytes": size,
        "now": {
            "frames": tally.frames,
            "seconds": seconds,
            "seconds_waiting_for_pictures": tally.drawing,
            "seconds_in_backbone": tally.embedding,
        },
    }
    path = write_results(run.output, figures=figures, config=run)
    print(
        f"{figures['frames']} frames of {figures['episodes']} episodes "
        f"({figures['held_out_episodes']} held out), {size / 1e6:.0f} MB; "
        f"{tally.frames} frames now in {seconds:.0f} s"
    )
    print(f"features: {run.output}")
    print(f"figures: {path}")


if __name__ == "__main__":
    sys.exit(main())
