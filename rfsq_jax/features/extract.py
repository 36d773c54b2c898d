"""Runs the frozen backbone over clips and writes shards; a killed run goes on where it was.

Each of a few threads makes one shard at a time: its simulator process draws the next clip while the
backbone works on the last one.

Axes: M frames · C cameras · H, W image · S feature tokens · E width.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from rfsq_jax.backbones.protocol import DEPTHS, EARLY, FINAL, Backbone
from rfsq_jax.features.clips import Clip
from rfsq_jax.features.pictures import replay_pictures, stored_pictures
from rfsq_jax.features.run import FeaturesRun
from rfsq_jax.features.shards import DESCRIPTION, DTYPES, check_shard, write_shard
from rfsq_jax.runs.progress import progress_bar

Pictures = UInt8[np.ndarray, "m c h w 3"]


@dataclasses.dataclass
class Tally:
    """What a run did, and where its threads spent their time.

    Attributes:
      frames: frames embedded now, not by an earlier run.
      written: bytes.
      drawing: seconds that threads waited for pictures.
      embedding: seconds that threads ran the backbone.
    """

    frames: int = 0
    written: int = 0
    drawing: float = 0.0
    embedding: float = 0.0


def extract(
    run: FeaturesRun,
    backbone: Backbone,
    shards: Sequence[Sequence[Clip]],
    instructions: Sequence[str],
) -> Tally:
    """Writes the shards that are missing; of several processes each writes its share.

    Args:
      run: options and folder.
      backbone: the frozen backbone.
      shards: the clips of each shard.
      instructions: what the column `instruction` counts.

    Raises:
      RuntimeError: if a simulator process died; the same command goes on.
      Exception: the first error of a clip, which says whose it was.
    """
    mine = range(jax.process_index(), len(shards), jax.process_count())
    missing = [index for index in mine if not _is_finished(run, index)]
    frames = {index: sum(len(clip.frames) for clip in shards[index]) for index in mine}
    behind = sum(frames.values()) - sum(frames[index] for index in missing)
    # Each simulator runs on one core; a maths library's own threads only get in the way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with progress_bar(sum(frames.values()), "features", "frame", initial=behind) as bar:
        work = _Extraction(run, backbone, instructions, bar)
        with ThreadPoolExecutor(run.workers, "shard", initializer=work.start_thread) as threads:
            futures = [threads.submit(work.write, index, shards[index]) for index in missing]
            try:
                for future in concurrent.futures.as_completed(futures):
                    future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    "a simulator process died, perhaps for lack of memory; "
                    "the same command goes on where this one stopped"
                ) from error
            finally:
                work.stop.set()
                for future in futures:
                    future.cancel()
        for pool in work.pools:
            pool.shutdown()
    return work.tally


def shard_folder(output: Path, index: int) -> Path:
    """Where a shard is."""
    return output / f"shard-{index:05d}"


def finished_bytes(output: Path, count: int) -> int:
    """Checks the sizes of all shards' files and returns their sum.

    Raises:
      ValueError: if one is missing or cut short.
    """
    described = (check_shard(shard_folder(output, index), contents=False) for index in range(count))
    return sum(sum(each["bytes"].values()) for each in described)


class _Extraction:
    """What the threads of one run share."""

    def __init__(
        self, run: FeaturesRun, backbone: Backbone, instructions: Sequence[str], bar: Any
    ) -> None:
        self.run = run
        self.backbone = backbone
        self.embed = _embedder(run, backbone)
        self.words = {sentence: number for number, sentence in enumerate(instructions)}
        self.tally = Tally()
        self.stop = threading.Event()
        self.pools: list[ProcessPoolExecutor] = []
        self._bar = bar
        self._lock = threading.Lock()
        self._local = threading.local()

    def start_thread(self) -> None:
        """Gives the calling thread its simulator process."""
        context = multiprocessing.get_context("spawn")
        self._local.pool = ProcessPoolExecutor(1, context, initializer=_end_with_parent)
        self.pools.append(self._local.pool)

    def write(self, index: int, clips: Sequence[Clip]) -> None:
        """Makes one shard, unless another thread has failed."""
        parts: list[dict[str, np.ndarray]] = []
        coming = _draw(clips[0], self.backbone, self._local.pool)
        for clip, following in zip(clips, [*clips[1:], None], strict=True):
            if self.stop.is_set():
                return
            began = time.perf_counter()
            pictures = _result(coming, clip)
            drawn = time.perf_counter()
            if following is not None:
                coming = _draw(following, self.backbone, self._local.pool)
            parts.append(self.embed(pictures, clip))
            self._count(clip, drawn - began, time.perf_counter() - drawn)
        features = {depth: np.concatenate([part[depth] for part in parts]) for depth in DEPTHS}
        folder = shard_folder(self.run.output, index)
        size = write_shard(folder, features, _columns(clips, self.words))
        with self._lock:
            self.tally.written += size

    def _count(self, clip: Clip, drawing: float, embedding: float) -> None:
        with self._lock:
            self.tally.frames += len(clip.frames)
            self.tally.drawing += drawing
            self.tally.embedding += embedding
            self._bar.update(len(clip.frames))
            self._bar.set_postfix_str(f"{self.tally.written / 1e6:.0f} MB")


def _is_finished(run: FeaturesRun, index: int) -> bool:
    return (shard_folder(run.output, index) / DESCRIPTION).exists()


def _result(coming: Future[Any], clip: Clip) -> Pictures:
    try:
        return coming.result()
    except (ValueError, RuntimeError) as error:
        error.add_note(f"while drawing {clip.recording.episode.source}, episode {clip.number}")
        raise


def _draw(clip: Clip, backbone: Backbone, pool: ProcessPoolExecutor) -> Future[Any]:
    demonstration = clip.recording.demonstration
    if demonstration is not None:
        return pool.submit(replay_pictures, demonstration, clip.frames, backbone.spec.image_size)
    ready: Future[Any] = Future()
    ready.set_result(stored_pictures(clip))
    return ready


def _embedder(
    run: FeaturesRun, backbone: Backbone
) -> Callable[[Pictures, Clip], dict[str, np.ndarray]]:
    dtype = DTYPES[run.dtype]

    @jax.jit
    def both(params: Any, inputs: Any) -> dict[str, jax.Array]:
        early, carry = backbone.early(params, inputs)
        return {EARLY: early.astype(dtype), FINAL: backbone.late(params, carry).astype(dtype)}

    def embed(pictures: Pictures, clip: Clip) -> dict[str, np.ndarray]:
        blocks = []
        for start in range(0, len(pictures), run.batch_size):
            rows = np.arange(start, min(start + run.batch_size, len(pictures)))
            padded = np.resize(rows, run.batch_size)
            sentences = [clip.recording.instruction] * run.batch_size
            inputs = backbone.prepare(pictures[padded], sentences, clip.state[padded])
            blocks.append((both(backbone.params, inputs), len(rows)))
        return {
            depth: np.concatenate([np.asarray(block[depth])[:size] for block, size in blocks])
            for depth in DEPTHS
        }

    return embed


def _columns(clips: Sequence[Clip], words: dict[str, int]) -> dict[str, np.ndarray]:
    def spread(values: Sequence[Any], dtype: Any) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype), [len(clip.frames) for clip in clips])

    return {
        "state": np.concatenate([clip.state for clip in clips]).astype(np.float32),
        "actions": np.concatenate([clip.actions for clip in clips]).astype(np.float32),
        "frame": np.concatenate([clip.frames for clip in clips]),
        "episode": spread([clip.number for clip in clips], np.int32),
        "held_out": spread([clip.held_out for clip in clips], np.bool_),
        "instruction": spread([words[clip.recording.instruction] for clip in clips], np.int32),
    }


def _end_with_parent() -> None:
    """A simulator must not outlive a killed run."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
