"""Makes frozen features of demonstrations, once, for every training of heads.

python -m train.features --config configs/small.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from rfsq_jax.backbones import make_backbone
from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.data.readers.jpeg import require_decoder
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.extract import ExtractionFigures, extract
from rfsq_jax.features.frames import EpisodeFrames, choose_frames, load_episodes, shards_of
from rfsq_jax.features.manifest import Manifest, ShardEntry, write_manifest
from rfsq_jax.features.shards import check_shard, shard_folder, shard_hash
from rfsq_jax.parallel.hosts import barrier, is_primary
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse_training
from rfsq_jax.runs.results import write_results
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.training.heads.training import PolicyRun

COMMAND = "train.features"

Shards = Sequence[Sequence[EpisodeFrames]]


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
    expected = f"the tokenizer's ({tokenizer.horizon})"
    require(run.horizon == tokenizer.horizon, "horizon", expected, run.horizon)
    statistics = tokenizer.normalization.to_dict()
    identity = {"backbone_version": backbone.spec.version, "action_statistics": statistics}
    claim_folder(run.output, {**run.identity(), **identity})
    return shards_of(run, choose_frames(run, load_episodes(run)))


def make_features(
    run: FeaturesRun, backbone: Backbone, tokenizer: ActionTokenizer, shards: Shards
) -> None:
    """Makes what is missing in the run's folder, then writes its manifest and figures."""
    spec = backbone.spec
    instructions = tuple(sorted({each.source.instruction for shard in shards for each in shard}))
    began = time.perf_counter()
    made = extract(run, backbone, shards, instructions)
    barrier("features")
    if is_primary():
        folders = [shard_folder(run.output, index) for index in range(len(shards))]
        size = sum(check_shard(folder, contents=False).size for folder in folders)
        manifest = Manifest(
            backbone=spec.name,
            version=spec.version,
            depths=spec.depths,
            action_statistics=tokenizer.normalization,
            dtype=run.dtype,
            instructions=instructions,
            shards=tuple(ShardEntry(folder.name, shard_hash(folder)) for folder in folders),
        )
        write_manifest(run.output, manifest)
        _show(run, shards, made, size, time.perf_counter() - began)


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    run, machines = parse_training(
        FeaturesRun,
        argv,
        command=COMMAND,
        description=__doc__,
        part=(PolicyRun, "features"),
    )
    with machines.joined(COMMAND), opened(COMMAND, hold_folder(run.output)):
        with user_errors(COMMAND):
            backbone = make_backbone(run.backbone, run.options, run.checkpoint)
            tokenizer = ActionTokenizer.from_pretrained(run.tokenizer)
            shards = open_run(run, backbone, tokenizer)
        make_features(run, backbone, tokenizer, shards)
    return 0


def _show(
    run: FeaturesRun, shards: Shards, made: ExtractionFigures, size: int, seconds: float
) -> None:
    episodes = [each for shard in shards for each in shard]
    figures: dict[str, Any] = {
        "episodes": len(episodes),
        "held_out_episodes": sum(each.held_out for each in episodes),
        "frames": sum(len(each.frames) for each in episodes),
        "bytes": size,
        "now": {
            "frames": made.frames,
            "seconds": seconds,
            "seconds_waiting_for_images": made.rendering,
            "seconds_in_backbone": made.embedding,
        },
    }
    path = write_results(run.output, figures=figures, config=run)
    print(
        f"{figures['frames']} frames of {figures['episodes']} episodes "
        f"({figures['held_out_episodes']} held out), {size / 1e6:.0f} MB; "
        f"{made.frames} frames now in {seconds:.0f} s"
    )
    print(f"features: {run.output}")
    print(f"figures: {path}")


if __name__ == "__main__":
    sys.exit(main())
