"""Which episodes and frames are used: the choice is even, repeatable and never leaks."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.data.episodes import Episode, episode_chunks, split_episodes
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.frames import (
    SourceEpisode,
    choose_frames,
    load_episodes,
    shard_columns,
    shards_of,
)
from rfsq_jax.libero.demonstrations.bundled import load_bundled
from rfsq_jax.libero.demonstrations.hdf5 import write_hdf5
from tests.conftest import smooth_actions
from tests.support.demonstrations import make_demonstration


def recording(number: int, group: str, instruction: str, steps: int = 20) -> SourceEpisode:
    rng = np.random.default_rng(number)
    state = rng.normal(size=(steps, 8)).astype(np.float32)
    episode = Episode(smooth_actions(steps, number), state, instruction, f"{group}/{number}")
    return SourceEpisode(episode, group, file=(Path("none"), number))


def recordings_of(tasks: list[tuple[str, str, int]]) -> list[SourceEpisode]:
    named = [(group, words) for group, words, count in tasks for _ in range(count)]
    return [recording(number, *each) for number, each in enumerate(named)]


def run_of(**options) -> FeaturesRun:
    return FeaturesRun(**{"episodes": None, "stride": 1, "held_out": 0.25, **options})


@given(
    lengths=st.lists(st.integers(1, 40), min_size=4, max_size=9),
    stride=st.integers(1, 9),
    horizon=st.integers(1, 12),
)
def test_frames_are_every_stride_and_only_whole_windows(lengths, stride, horizon):
    found = [recording(n, "a", "go", steps) for n, steps in enumerate([*lengths, 40, 40])]
    run = run_of(stride=stride, horizon=horizon)
    clips = choose_frames(run, found)
    for clip in clips:
        actions = clip.source.episode.actions
        assert clip.frames[0] == clip.number % stride
        assert set(np.diff(clip.frames)) <= {stride}
        assert clip.frames[-1] + horizon <= len(actions) < clip.frames[-1] + stride + horizon
        windows = [actions[frame : frame + horizon] for frame in clip.frames]
        np.testing.assert_array_equal(clip.actions, windows)
        np.testing.assert_array_equal(clip.state, clip.source.episode.state[clip.frames])
    used = {clip.source.episode.source for clip in clips}
    long = {e.episode.source for e in found if len(e.episode) >= horizon + stride - 1}
    assert long <= used


def test_a_stride_skips_no_phase():
    clips = choose_frames(run_of(stride=3), recordings_of([("a", "go", 12)]))
    assert {int(clip.frames[0]) for clip in clips} == {0, 1, 2}


def test_every_episode_is_used_where_tasks_share_their_words():
    """The split is by words; a file may then have more held-out episodes than its share."""
    found = recordings_of([(f"file {number}", "go", 3) for number in range(8)])
    clips = choose_frames(run_of(), found)
    assert len(clips) == 24
    _, part = split_episodes(found, 0.25, 0)
    sources = {each.episode.source for each in part}
    assert {c.source.episode.source for c in clips if c.held_out} == sources


@given(
    counts=st.lists(st.integers(4, 12), min_size=1, max_size=4),
    episodes=st.integers(1, 50),
    split=st.sampled_from(["all", "train", "held_out"]),
)
def test_episodes_are_spread_evenly(counts, episodes, split):
    found = recordings_of([(f"g{i}", f"task {i}", count) for i, count in enumerate(counts)])
    clips = choose_frames(run_of(episodes=episodes, split=split), found)
    train, part = split_episodes(found, 0.25, 0)
    there = {"all": found, "train": train, "held_out": part}[split]
    have = Counter(each.group for each in there)
    got = Counter(clip.source.group for clip in clips)
    for place in range(len(counts)):
        share = episodes // len(counts) + (place < episodes % len(counts))
        assert got[f"g{place}"] == min(share, have[f"g{place}"])
    held_out = {each.episode.source for each in part}
    assert all(clip.held_out == (clip.source.episode.source in held_out) for clip in clips)
    if split == "all":
        for group, count in got.items():
            measured = sum(clip.held_out for clip in clips if clip.source.group == group)
            assert measured >= (count > 1)


def test_a_smaller_run_is_part_of_a_greater_one():
    """Held-out episodes of one run are never trained on by another."""
    found = recordings_of([("a", "go", 20), ("b", "stop", 20)])
    runs = [run_of(episodes=count) for count in (4, 10, 24)] + [run_of()]
    seen = {}
    for run in runs:
        for clip in choose_frames(run, found):
            source = clip.source.episode.source
            assert seen.setdefault(source, clip.held_out) == clip.held_out


def test_the_split_of_bundled_suites_is_the_tokenizers():
    suites = ("libero_object", "libero_spatial")
    episodes = [each for suite in suites for each in load_bundled(suite)]
    _, part = split_episodes(episodes, 0.1, 0)
    run = FeaturesRun(suites=suites, episodes=None, split="held_out")
    clips = choose_frames(run, load_episodes(run))
    assert {c.source.episode.source for c in clips} == {each.source for each in part}


def test_only_what_the_expert_did_after_a_handover_is_used():
    demonstration = dataclasses.replace(make_demonstration(0, num_steps=40), handover=17)
    led = SourceEpisode(demonstration.episode, "led", demonstration=demonstration)
    clips = choose_frames(run_of(), [led, *recordings_of([("a", "go", 4)])])
    (clip,) = [clip for clip in clips if clip.source is led]
    assert clip.frames.tolist() == list(range(17, 40 - FeaturesRun().horizon + 1))


def test_further_demonstrations_leave_the_split_of_the_bundled_ones_alone(tmp_path):
    run = FeaturesRun(suites=("libero_object",), episodes=None)
    alone = choose_frames(run, load_episodes(run))
    few = [make_demonstration(n, num_steps=12) for n in range(10)]
    write_hdf5(tmp_path / "put_the_cube_on_the_plate_demo.hdf5", few)
    more = dataclasses.replace(run, demos=(tmp_path,))
    clips = choose_frames(more, load_episodes(more))
    described = [(c.number, c.held_out, c.source.episode.source) for c in clips]
    assert described[: len(alone)] == [
        (c.number, c.held_out, c.source.episode.source) for c in alone
    ]
    added = clips[len(alone) :]
    assert len(added) == 10
    assert sum(clip.held_out for clip in added) == 1
    assert all(clip.source.demonstration is not None for clip in added)


def test_a_folder_without_demonstrations_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="demos must name HDF5 files"):
        load_episodes(FeaturesRun(demos=(tmp_path,)))


def test_shards_hold_every_clip_once_and_one_group_each():
    found = recordings_of([("a", "go", 7), ("b", "stop", 5), ("a", "turn", 4)])
    run = run_of(episodes_per_shard=3)
    clips = choose_frames(run, found)
    shards = shards_of(run, clips)
    assert sorted(clip.number for shard in shards for clip in shard) == list(range(16))
    assert all(len({clip.source.group for clip in shard}) == 1 for shard in shards)
    assert max(map(len, shards)) == 3


def test_columns_have_a_row_for_every_frame():
    clips = choose_frames(run_of(stride=4), recordings_of([("a", "go", 5), ("b", "stop", 4)]))
    columns = shard_columns(clips, {"go": 0, "stop": 1})
    row = 0
    for clip in clips:
        for place, frame in enumerate(clip.frames):
            assert columns["frame"][row] == frame
            assert columns["episode"][row] == clip.number
            assert columns["held_out"][row] == clip.held_out
            assert columns["instruction"][row] == (clip.source.instruction == "stop")
            chunk = episode_chunks(clip.source.episode.actions, 8)[frame]
            np.testing.assert_array_equal(columns["actions"][row], chunk)
            np.testing.assert_array_equal(columns["state"][row], clip.state[place])
            row += 1
    assert {len(column) for column in columns.values()} == {row}


def test_episodes_that_are_all_too_short_are_refused():
    found = [recording(number, "a", "go", steps=7) for number in range(4)]
    with pytest.raises(ValueError, match="an episode of at least 8 steps, got none"):
        choose_frames(run_of(), found)
