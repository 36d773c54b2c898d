"""Runs the frozen backbone over clips and writes shards; a killed run goes on where it was.

Each of a few threads makes one shard at a time: its simulator process draws the next clip while the
backbone works on the last one.

Axes: M frames of a shard.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rfsq_jax.backbones.protocol import DEPTHS, Backbone
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.embedding import Features, Pictures, make_embedder
from rfsq_jax.features.frames import Clip, columns_of
from rfsq_jax.features.images import replay_pictures, stored_pictures
from rfsq_jax.features.shards import (
    DESCRIPTION,
    check_shard,
    read_columns,
    write_shard,
)
from rfsq_jax.runs.files import remove_leftovers
from rfsq_jax.runs.progress import progress_bar


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
      ValueError: if a finished shard holds other frames than these, or is cut short.
      Exception: the first error of a clip, with a note that says whose it was.
    """
    words = {sentence: number for number, sentence in enumerate(instructions)}
    mine = range(jax.process_index(), len(shards), jax.process_count())
    missing = [index for index in mine if not _is_finished(run, index, shards[index], words)]
    frames = {index: sum(len(clip.frames) for clip in shards[index]) for index in mine}
    behind = sum(frames.values()) - sum(frames[index] for index in missing)
    # Each simulator runs on one core; a maths library's own threads only get in the way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with progress_bar(sum(frames.values()), "features", "frame", initial=behind) as bar:
        work = _Extraction(run, backbone, words, bar)
        threads = ThreadPoolExecutor(run.workers, "shard", initializer=work.start_thread)
        with contextlib.closing(work), threads:
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
        self, run: FeaturesRun, backbone: Backbone, words: Mapping[str, int], bar: Any
    ) -> None:
        self.run = run
        self.backbone = backbone
        self.embed = make_embedder(run, backbone)
        self.words = words
        self.tally = Tally()
        self.stop = threading.Event()
        self._pools: list[ProcessPoolExecutor] = []
        self._bar = bar
        self._lock = threading.Lock()
        self._local = threading.local()

    def start_thread(self) -> None:
        """Gives the calling thread its simulator process."""
        context = multiprocessing.get_context("spawn")
        self._local.pool = ProcessPoolExecutor(1, context, initializer=_end_with_parent)
        self._pools.append(self._local.pool)

    def close(self) -> None:
        """Ends the simulator processes."""
        for pool in self._pools:
            pool.shutdown()

    def write(self, index: int, clips: Sequence[Clip]) -> None:
        """Makes one shard, unless another thread has failed."""
        parts: list[Features] = []
        coming = self._draw(clips[0])
        for clip, following in zip(clips, [*clips[1:], None], strict=True):
            if self.stop.is_set():
                return
            with _naming(clip):
                began = time.perf_counter()
                pictures = coming.result()
                drawn = time.perf_counter()
                if following is not None:
                    coming = self._draw(following)
                parts.append(self.embed(pictures, clip))
            self._count(clip, drawn - began, time.perf_counter() - drawn)
        features = {depth: np.concatenate([part[depth] for part in parts]) for depth in DEPTHS}
        folder = shard_folder(self.run.output, index)
        size = write_shard(folder, features, columns_of(clips, self.words))
        with self._lock:
            self.tally.written += size

    def _draw(self, clip: Clip) -> Future[Pictures]:
        demonstration, size = clip.recording.demonstration, self.backbone.spec.image_size
        if demonstration is not None:
            return self._local.pool.submit(replay_pictures, demonstration, clip.frames, size)
        read: Future[Pictures] = Future()
        try:
            read.set_result(stored_pictures(clip, self.run.as_tensorflow))
        except (ValueError, OSError) as error:
            read.set_exception(error)
        return read

    def _count(self, clip: Clip, drawing: float, embedding: float) -> None:
        with self._lock:
            self.tally.frames += len(clip.frames)
            self.tally.drawing += drawing
            self.tally.embedding += embedding
            self._bar.update(len(clip.frames))
            self._bar.set_postfix_str(f"{self.tally.written / 1e6:.0f} MB")


def _is_finished(
    run: FeaturesRun, index: int, clips: Sequence[Clip], words: Mapping[str, int]
) -> bool:
    """Whether a shard is there; it must then hold what it would hold now."""
    folder = shard_folder(run.output, index)
    if not (folder / DESCRIPTION).exists():
        remove_leftovers(folder.parent, folder.name)
        return False
    check_shard(folder, contents=False)
    found = read_columns(folder)
    for name, wanted in columns_of(clips, words).items():
        if not np.array_equal(found[name], wanted):
            raise ValueError(
                f"{folder / name}.npy must hold what the demonstrations give, got another "
                f"{name}; they have changed since: give another --output or remove that folder"
            )
    return True


@contextlib.contextmanager
def _naming(clip: Clip) -> Iterator[None]:
    """Notes on an error whose episode it came from."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        error.add_note(f"in {clip.recording.episode.source}, episode {clip.number} of the run")
        raise


def _end_with_parent() -> None:
    """A simulator must not outlive a killed run."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
