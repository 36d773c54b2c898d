"""Runs the frozen backbone over frames and writes shards; a killed run goes on where it was.

Each of a few threads makes one shard at a time: its simulator process renders the next episode
while the backbone works on the last one.

Axes: M frames of a shard or an episode · C cameras · H, W image.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.backbones.protocol import DEPTHS, EARLY, FINAL, Backbone
from rfsq_jax.data.observations import Observations
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.frames import EpisodeFrames, shard_columns
from rfsq_jax.features.images import replay_images, stored_images
from rfsq_jax.features.shards import (
    DESCRIPTION,
    DTYPES,
    check_shard,
    read_columns,
    shard_folder,
    write_shard,
)
from rfsq_jax.parallel.batching import pad_rows
from rfsq_jax.parallel.calls import Caller, WorkerDiedError
from rfsq_jax.parallel.workers import Pool
from rfsq_jax.runs.files import remove_leftovers
from rfsq_jax.runs.terminal import progress_bar

Images = UInt8[np.ndarray, "m c h w 3"]
Features = dict[str, Float[np.ndarray, "m _ _"]]


@dataclasses.dataclass
class ExtractionFigures:
    """What a run did, and where its threads spent their time.

    Attributes:
      frames: frames embedded now, not by an earlier run.
      written: bytes.
      rendering: seconds that threads waited for images.
      embedding: seconds that threads ran the backbone.
    """

    frames: int = 0
    written: int = 0
    rendering: float = 0.0
    embedding: float = 0.0


def extract(
    run: FeaturesRun,
    backbone: Backbone,
    shards: Sequence[Sequence[EpisodeFrames]],
    instructions: Sequence[str],
) -> ExtractionFigures:
    """Writes the shards that are missing; of several processes each writes its share.

    Args:
      run: options and folder.
      backbone: the frozen backbone.
      shards: the episodes of each shard.
      instructions: what the column `instruction` counts.

    Raises:
      WorkerDiedError: if a simulator process died; the same command goes on.
      ValueError: if a finished shard holds other frames than these, or is cut short.
      Exception: the first error of an episode, with a note that says whose it was.
    """
    index_of = {sentence: number for number, sentence in enumerate(instructions)}
    mine = range(jax.process_index(), len(shards), jax.process_count())
    missing = [index for index in mine if not _is_finished(run, index, shards[index], index_of)]
    frames = {index: sum(len(each.frames) for each in shards[index]) for index in mine}
    done = sum(frames.values()) - sum(frames[index] for index in missing)
    with (
        progress_bar(sum(frames.values()), "features", "frame", initial=done) as bar,
        Pool(lambda _: Caller(replay_images), run.workers) as pool,
    ):
        work = _Extraction(run, backbone, index_of, pool, bar)
        with ThreadPoolExecutor(run.workers, "shard") as threads:
            futures = [threads.submit(work.write, index, shards[index]) for index in missing]
            try:
                for future in concurrent.futures.as_completed(futures):
                    future.result()
            except WorkerDiedError as error:
                message = f"{error}; the same command goes on where this one stopped"
                raise WorkerDiedError(message) from error
            finally:
                work.stop.set()
                for future in futures:
                    future.cancel()
    return work.figures


class _Extraction:
    """What the threads of one run share."""

    def __init__(
        self,
        run: FeaturesRun,
        backbone: Backbone,
        instruction_index: Mapping[str, int],
        pool: Pool[Caller],
        bar: Any,
    ) -> None:
        self.run = run
        self.embed = _make_embedder(run, backbone)
        self.figures = ExtractionFigures()
        self.stop = threading.Event()
        self._image_size = backbone.spec.image_size
        self._instruction_index = instruction_index
        self._pool = pool
        self._bar = bar
        self._lock = threading.Lock()
        self._local = threading.local()

    def write(self, index: int, shard: Sequence[EpisodeFrames]) -> None:
        """Makes one shard, unless another thread has failed."""
        parts: list[Features] = []
        wait_for_images = self._request(shard[0])
        for chosen, following in zip(shard, [*shard[1:], None], strict=True):
            if self.stop.is_set():
                return
            with _naming(chosen):
                began = time.perf_counter()
                images = wait_for_images()
                rendered = time.perf_counter()
                if following is not None:
                    wait_for_images = self._request(following)
                parts.append(self.embed(images, chosen))
            self._count(chosen, rendered - began, time.perf_counter() - rendered)
        features = {depth: np.concatenate([part[depth] for part in parts]) for depth in DEPTHS}
        folder = shard_folder(self.run.output, index)
        size = write_shard(folder, features, shard_columns(shard, self._instruction_index))
        with self._lock:
            self.figures.written += size

    def _request(self, chosen: EpisodeFrames) -> Callable[[], Images]:
        """Starts to render in this thread's simulator process; returns what waits for the images.

        Stored images are read when they are waited for.
        """
        demonstration = chosen.source.demonstration
        if demonstration is None:
            return lambda: stored_images(chosen, self.run.as_tensorflow)
        if not hasattr(self._local, "simulator"):
            with self._lock:
                self._local.simulator = self._pool.start()
        self._local.simulator.begin((demonstration, chosen.frames, self._image_size))
        return self._local.simulator.result

    def _count(self, chosen: EpisodeFrames, rendering: float, embedding: float) -> None:
        with self._lock:
            self.figures.frames += len(chosen.frames)
            self.figures.rendering += rendering
            self.figures.embedding += embedding
            self._bar.update(len(chosen.frames))
            self._bar.set_postfix_str(f"{self.figures.written / 1e6:.0f} MB")


def _is_finished(
    run: FeaturesRun,
    index: int,
    shard: Sequence[EpisodeFrames],
    instruction_index: Mapping[str, int],
) -> bool:
    """Whether a shard is there; it must then hold what it would hold now."""
    folder = shard_folder(run.output, index)
    if not (folder / DESCRIPTION).exists():
        remove_leftovers(folder.parent, folder.name)
        return False
    check_shard(folder, contents=False)
    found = read_columns(folder)
    for name, wanted in shard_columns(shard, instruction_index).items():
        if not np.array_equal(found[name], wanted):
            raise ValueError(
                f"{folder / name}.npy must hold what the demonstrations give, got another "
                f"{name}; they have changed since: give another --output or remove that folder"
            )
    return True


def _make_embedder(
    run: FeaturesRun, backbone: Backbone
) -> Callable[[Images, EpisodeFrames], Features]:
    """Returns a function, safe to call from threads, that gives features in `run.dtype` by depth.

    It raises a ValueError if a feature is NaN, or too great for the dtype.
    """
    dtype = DTYPES[run.dtype]

    @jax.jit
    def both(params: Any, inputs: Any) -> dict[str, jax.Array]:
        early, carry = backbone.early(params, inputs)
        return {EARLY: early.astype(dtype), FINAL: backbone.late(params, carry).astype(dtype)}

    def embed(images: Images, chosen: EpisodeFrames) -> Features:
        blocks = []
        for start in range(0, len(images), run.batch_size):
            rows = np.arange(start, min(start + run.batch_size, len(images)))
            padded = pad_rows(rows, run.batch_size)
            sentences = [chosen.source.instruction] * run.batch_size
            seen = Observations(images[padded], sentences, chosen.state[padded])
            inputs = backbone.prepare(seen)
            blocks.append((both(backbone.params, inputs), len(rows)))
        features = {
            depth: np.concatenate([np.asarray(block[depth])[:size] for block, size in blocks])
            for depth in DEPTHS
        }
        for depth, values in features.items():
            _require_finite(values, depth, run.dtype)
        return features

    return embed


def _require_finite(values: Float[np.ndarray, "m s e"], depth: str, dtype: str) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        got = values[tuple(bad[0])]
        advice = "; bfloat16 holds greater values" if np.isinf(got) and dtype == "float16" else ""
        raise ValueError(f"{depth} features must be finite in {dtype}, got {got}{advice}")


@contextlib.contextmanager
def _naming(chosen: EpisodeFrames) -> Iterator[None]:
    """Notes on an error whose episode it came from."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        error.add_note(f"in {chosen.source.episode.source}, episode {chosen.number} of the run")
        raise
