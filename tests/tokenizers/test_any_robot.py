"""Any number of dims, any horizon, any meaning of the dims: nothing is left to chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rfsq_jax import ActionTokenizer
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.action_spec import LIBERO, ActionGroup, ActionSpec
from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.autoencoder.training import TrainingConfig
from rfsq_jax.training.loop import LoopConfig
from tests.conftest import smooth_actions
from tests.support.devices import on_one_device

ARM = (ActionGroup("joint", 6), ActionGroup("gripper", 1, bounds=(0.0, 1.0)))
SPECS = {
    2: ActionSpec((ActionGroup("translation", 2, 0.01),)),
    7: LIBERO,
    14: ActionSpec((*ARM, *ARM)),
    32: ActionSpec((ActionGroup("joint", 20), ActionGroup("other", 12))),
}
MISSPELT: Any = "grip"
HORIZONS = {2: 4, 7: 8, 14: 5, 32: 16}


def chunks_of(spec: ActionSpec, horizon: int, count: int = 256) -> np.ndarray:
    """Smooth motion of every dim, in units that differ from dim to dim; grippers at two values."""
    lanes = [smooth_actions(count + horizon, seed)[:, :6] for seed in range(6)]
    moves = np.concatenate(lanes, axis=1)[:, : spec.action_dim]
    moves = moves * np.linspace(0.3, 3.0, spec.action_dim, dtype=np.float32)
    for group, place in spec.slices("gripper"):
        low, high = group.commands
        moves[:, place] = np.where(moves[:, place] > 0, high, low)
    windows = np.lib.stride_tricks.sliding_window_view(moves, horizon, axis=0)
    return np.ascontiguousarray(np.moveaxis(windows[:count], -1, 1))


@pytest.fixture(scope="module", params=sorted(SPECS))
def case(request):
    spec = SPECS[request.param]
    chunks = chunks_of(spec, HORIZONS[request.param])
    loop = LoopConfig(steps=900, steps_per_call=300, evaluate_every=900)
    model = AutoencoderConfig.for_actions(spec.action_dim, RFSQConfig(num_layers=3))
    training = TrainingConfig(model=model, loop=loop)
    with on_one_device():
        return spec, chunks, StepTokenizer.fit(chunks, spec=spec, training=training)


def test_every_dim_comes_back(case):
    spec, chunks, tokenizer = case
    assert (tokenizer.horizon, tokenizer.action_dim) == chunks.shape[1:]
    back = tokenizer.decode(tokenizer.encode(chunks))
    error = np.square(back - chunks).mean(axis=(0, 1))
    assert (error < 0.1 * chunks.var(axis=(0, 1))).all(), error / chunks.var(axis=(0, 1))
    if "gripper" in spec.kinds:
        assert reconstruction_errors(chunks, back, tokenizer.space)["gripper_flips"] < 0.01


def test_the_spec_travels_with_the_tokenizer(case, tmp_path):
    spec, chunks, tokenizer = case
    tokenizer.save_pretrained(tmp_path / "it")
    loaded = ActionTokenizer.from_pretrained(tmp_path / "it")
    assert loaded.space.spec == spec
    assert loaded.version == tokenizer.version
    np.testing.assert_array_equal(loaded.encode(chunks[:3]), tokenizer.encode(chunks[:3]))


@pytest.mark.parametrize("kind", ["bins", "fast"])
@pytest.mark.parametrize("action_dim", sorted(SPECS))
def test_what_a_user_would_pick_instead_takes_any_robot_too(kind, action_dim, tmp_path):
    spec = SPECS[action_dim]
    chunks = chunks_of(spec, HORIZONS[action_dim])
    tokenizer = ActionTokenizer.fit(chunks, kind=kind, spec=spec)
    ids = tokenizer(chunks)
    tokenizer.save_pretrained(tmp_path / "it")
    loaded = ActionTokenizer.from_pretrained(tmp_path / "it")
    assert (loaded.kind, loaded.version, loaded(chunks)) == (kind, tokenizer.version, ids)
    np.testing.assert_array_equal(loaded.decode(ids), tokenizer.decode(ids))


def test_errors_name_every_kind_that_occurs():
    for action_dim, names in {
        2: {"translation_mm"},
        14: {"joint_deg", "gripper_flips"},
        32: {"joint_deg", "other_error"},
    }.items():
        chunks = chunks_of(SPECS[action_dim], 4, count=32)
        space = ActionSpace.fit(chunks, SPECS[action_dim])
        moved = chunks + np.float32(0.01)
        errors = reconstruction_errors(chunks, moved, space)
        assert set(errors) == {"mse", "max_error", *names}
        for name in names - {"gripper_flips"}:
            assert errors[name] > 0


def test_dims_have_names():
    assert LIBERO.names[0] == "translation x"
    assert LIBERO.names[5:] == ("rotation z", "gripper")
    assert SPECS[14].names[5:8] == ("joint 5", "gripper", "joint 0")


def test_both_grippers_count():
    chunks = chunks_of(SPECS[14], 4, count=32)
    space = ActionSpace.fit(chunks, SPECS[14])
    for dim in (6, 13):
        flipped = chunks.copy()
        flipped[..., dim] = 1.0 - flipped[..., dim]
        assert reconstruction_errors(chunks, flipped, space)["gripper_flips"] == 0.5


def test_a_robot_is_given_what_it_takes():
    wild = np.array([[2.0, -3.0, 0.5, 0.0, 0.0, 0.0, 0.1], [0.0] * 6 + [-0.1]], np.float32)
    taken = LIBERO.to_robot(wild)
    np.testing.assert_array_equal(taken[0], [1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 1.0])
    assert taken[1, 6] == -1.0
    unknown = ActionSpec.default(3).to_robot(wild[:, :3])
    np.testing.assert_array_equal(unknown, wild[:, :3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActionGroup("gripper"), "bounds must be finite and ascending for gripper"),
        (lambda: ActionGroup("joint", bounds=(1.0, -1.0)), "finite and ascending for joint"),
        (lambda: ActionGroup("joint", bounds=(0.0, np.inf)), "bounds .*finite.*inf"),
        (lambda: ActionGroup(MISSPELT), "kind must be one of .*; did you mean 'gripper'"),
        (lambda: ActionGroup("other", 0), "size must be at least 1"),
        (lambda: ActionGroup("joint", 1, 0.0), "unit must be above 0"),
        (lambda: ActionSpec(()), "groups must be at least one"),
        (
            lambda: ActionTokenizer.fit(np.zeros((4, 8, 6), np.float32), spec=LIBERO),
            r"actions must be \[..., 7\], as their spec says, got \(4, 8, 6\)",
        ),
    ],
)
def test_specs_that_make_no_sense_are_refused(make, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_kind_or_option_is_refused(chunks):
    with pytest.raises(ValueError, match="one of step, ordered, bins, fast, got 'binz'"):
        ActionTokenizer.fit(chunks, kind="binz")
    with pytest.raises(ValueError, match="did you mean 'num_bins'"):
        ActionTokenizer.fit(chunks, kind="bins", numbins=3)
    with pytest.raises(ValueError, match="kind must be 'step'"):
        StepTokenizer.fit(chunks, kind="bins")
