"""The original models as policies: actions against the published formulas, written out here."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("simplejpeg")

from rfsq_jax.backbones import get_backbone
from rfsq_jax.backbones.openvla import model
from rfsq_jax.data.observations import Observations
from rfsq_jax.evaluation.play.batched_policy import Actor
from rfsq_jax.policies.openvla import OpenVLAPolicy
from tests.support.images import pictures
from tests.support.openvla_checkpoints import STATISTICS, TINY, TINY_OFT, write_checkpoint

OPTIONS: dict[str, Any] = {"dtype": "float32"}
LOW, HIGH = (np.array(STATISTICS["action"][name]) for name in ("q01", "q99"))


@pytest.fixture(scope="module")
def oft(tmp_path_factory: pytest.TempPathFactory) -> OpenVLAPolicy:
    return policy_of("openvla-oft", write_checkpoint(tmp_path_factory.mktemp("oft"), TINY_OFT))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> OpenVLAPolicy:
    return policy_of("openvla", write_checkpoint(tmp_path_factory.mktemp("base"), TINY))


def policy_of(name: str, folder: Path, **options: Any) -> OpenVLAPolicy:
    backbone: Any = get_backbone(name, path=folder, **OPTIONS, **options)
    return OpenVLAPolicy(backbone)


def observations(batch: int = 3) -> Observations:
    state = np.random.default_rng(1).uniform(-1, 2, (batch, 8)).astype(np.float32)
    return Observations(
        pictures(batch, 64), ["put it here", "pick the bowl", "pick up"][:batch], state
    )


def features(policy: OpenVLAPolicy, seen: Observations) -> Any:
    return policy.backbone.embed(seen.images, seen.instructions, seen.state)


def test_oft_answers_with_its_l1_head_in_robot_units(oft: OpenVLAPolicy) -> None:
    seen = observations()
    states = features(oft, seen)
    normal = np.asarray(model.regress(oft.backbone.params["head"], TINY_OFT, states))
    got = oft.act(seen)
    assert isinstance(oft, Actor)
    assert got.shape == (3, 8, 7)
    expected = 0.5 * (normal[..., :6] + 1) * (HIGH - LOW + 1e-8)[:6] + LOW[:6]
    np.testing.assert_allclose(got[..., :6], expected, atol=1e-4)
    np.testing.assert_array_equal(got[..., 6], -np.sign(2 * normal[..., 6] - 1))
    assert np.ptp(expected, axis=1).max() > 0.01


def test_the_base_model_answers_one_step_of_seven_tokens(base: OpenVLAPolicy) -> None:
    seen = observations()
    inputs = base.backbone.prepare(seen)
    names = ("pixels", "prompt", "lengths")
    arrays = (jnp.asarray(inputs[name]) for name in names)
    tokens = np.asarray(model.decode(base.backbone.params, base.model.config, *arrays))
    got = base.act(seen)
    assert (base.horizon, got.shape) == (1, (3, 1, 7))
    edges = np.linspace(-1, 1, 256)
    places = np.clip(32000 - tokens - 1, 0, 254)
    normal = (edges[places] + edges[places + 1]) / 2
    expected = 0.5 * (normal[:, :6] + 1) * (HIGH - LOW)[:6] + LOW[:6]
    np.testing.assert_allclose(got[:, 0, :6], expected, atol=1e-6)
    np.testing.assert_array_equal(got[:, 0, 6], -np.sign(2 * normal[:, 6] - 1))


@pytest.mark.parametrize(("raw", "command"), [(0.02, 1.0), (0.49, 1.0), (0.51, -1.0), (1.1, -1.0)])
def test_closing_is_zero_for_the_model_and_plus_one_for_the_robot(
    oft: OpenVLAPolicy, raw: float, command: float
) -> None:
    answer = np.zeros((1, 8, 7), np.float32)
    answer[..., 6] = raw
    assert (oft._to_robot(oft._restore(answer))[..., 6] == command).all()


@pytest.mark.parametrize(
    ("token", "command"),
    # The gripper's numbers are not restored: 0.0, 0.004, -0.004 and -1 close, 0.996 and 0.502 open.
    [(31872, 1.0), (31871, 1.0), (31873, 1.0), (31999, 1.0), (31744, -1.0), (31807, -1.0)],
)
def test_tokens_close_and_open(base: OpenVLAPolicy, token: int, command: float) -> None:
    answer = np.full((2, 7), 31872)
    answer[:, 6] = token
    got = base._to_robot(base._restore(answer))
    assert got.dtype == np.float32
    assert (got[..., 6] == command).all()
    # The token of 0.0 is the middle of each dim's range.
    np.testing.assert_allclose(got[0, 0, :6], (LOW + HIGH)[:6] / 2, atol=1e-7)


@pytest.mark.parametrize("name", ["oft", "base"])
def test_rows_do_not_see_each_other_and_answers_repeat(
    name: str, request: pytest.FixtureRequest
) -> None:
    policy: OpenVLAPolicy = request.getfixturevalue(name)
    seen = observations()
    together = policy.act(seen)
    np.testing.assert_array_equal(policy.act(seen), together)
    for i in range(3):
        rows = slice(i, i + 1)
        alone = Observations(seen.images[rows], seen.instructions[i : i + 1], seen.state[rows])
        np.testing.assert_allclose(policy.act(alone)[0], together[i], atol=1e-4)


def test_versions_know_the_statistics(base: OpenVLAPolicy) -> None:
    """They change no feature of the base model, but its actions."""
    other = copy.copy(base.model)
    other.statistics = copy.copy(base.model.statistics)
    assert OpenVLAPolicy(other).version == base.version
    object.__setattr__(other.statistics, "low", LOW - 1)
    assert OpenVLAPolicy(other).version != base.version


def test_a_model_must_see_and_have_statistics(oft: OpenVLAPolicy, tmp_path: Path) -> None:
    folder = oft.model.folder
    for options in ({"blind": True}, {"features": "last"}):
        with pytest.raises(ValueError, match="must see pictures and have its action states"):
            policy_of("openvla-oft", folder, **options)
    mixed = write_checkpoint(tmp_path, TINY, sets=("libero_goal", "libero_10"))
    with pytest.raises(ValueError, match="statistics must name the data set"):
        policy_of("openvla", mixed)
    assert policy_of("openvla", mixed, statistics="libero_10").horizon == 1
