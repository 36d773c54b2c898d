"""What a file keeps of an ordered tokenizer, and its paths from what was kept.

Axes: T frequencies · M dims that move · P grippers · H headers.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.rfsq import ConditionalState, RFSQConfig, conditional_start
from rfsq_jax.rfsq.conditional import Networks
from rfsq_jax.runs.canonical import added
from rfsq_jax.runs.checks import MAX_DEPTH, require, require_range
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.trees import require_finite
from rfsq_jax.runs.weight_files import WEIGHTS, check_frozen, check_shapes
from rfsq_jax.tokenizers.ordered import grippers, shared_network
from rfsq_jax.tokenizers.ordered.coefficients import Coefficients
from rfsq_jax.tokenizers.ordered.headers import Headers
from rfsq_jax.tokenizers.ordered.paths import DensePath, SharedPath
from rfsq_jax.tokenizers.ordered.shared import Prior
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.tokenizers.ordered.shared_network import SharedParams

Arrays = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class OrderedConfig:
    """All but the arrays.

    Attributes:
      num_tokens: tokens of a chunk besides its headers.
      switches: the most switches of a word, for each gripper of two commands.
      usual: the headers of most chunks: what stands for them where a prefix has none.
      largest_error: of a round trip, in normalised units; what exceeds it is reported.
      shared: network of the shared path.
      dense: quantiser of the dense path; None without one.
      moving_grippers: gripper dims that are no switches, ascending.
    """

    num_tokens: int
    switches: tuple[int, ...]
    usual: tuple[int, ...]
    largest_error: float
    shared: SharedConfig
    dense: RFSQConfig | None = None
    moving_grippers: tuple[int, ...] = added(())

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MAX_DEPTH, "num_tokens")
        require(self.largest_error > 0, "largest_error", "above 0", self.largest_error)
        if self.dense is not None:
            kind = self.dense.conditioning
            require(kind == "conditional", "dense.conditioning", "'conditional'", kind)
            layers = self.dense.num_layers
            require(layers == self.num_tokens, "dense.num_layers", f"{self.num_tokens}", layers)

    def headers(self, horizon: int) -> Headers:
        """What the first tokens mean.

        Raises:
          ValueError: if the words do not fit the horizon, or the usual headers are none.
        """
        paths = 1 if self.dense is None else 2
        for switches in self.switches:
            most = grippers.most_switches(horizon)
            require(0 <= switches <= most, "switches", f"0 to {most}", self.switches)
        headers = Headers(horizon, self.switches, paths, self.usual)
        fits = len(self.usual) == len(headers.sizes) and all(
            0 <= each < size for each, size in zip(self.usual, headers.sizes, strict=False)
        )
        require(fits, "usual", f"one id below each of {headers.sizes}", self.usual)
        return headers


def coefficients_of(space: ActionSpace, config: OrderedConfig) -> Coefficients:
    """What the paths of a tokenizer take.

    Raises:
      ValueError: if a moving gripper is none, or the words are not one for each other gripper.
    """
    all_grippers = np.arange(space.action_dim)[space.spec.dims("gripper")].tolist()
    moving = list(config.moving_grippers)
    known = moving == sorted(set(moving) & set(all_grippers))
    require(known, "moving_grippers", f"some of {all_grippers}, ascending", config.moving_grippers)
    coefficients = Coefficients(space, config.moving_grippers)
    count, words = len(coefficients.gripper_dims), len(config.switches)
    require(words == count, "switches", f"one for each of {count} grippers", words)
    return coefficients


def to_arrays(shared: SharedPath, dense: DensePath | None) -> Arrays:
    """Nested dicts of arrays; a dense path's weights as int8."""
    arrays: Arrays = {"shared": shared.params._asdict(), "prior": shared.prior._asdict()}
    if dense is not None:
        state = dense.state._asdict()
        arrays["dense"] = state | {"networks": dense.state.networks._asdict()}
    return arrays


def shared_from(config: OrderedConfig, coefficients: Coefficients, arrays: Arrays) -> SharedPath:
    """The shared path of stored arrays.

    Raises:
      ValueError: if they do not fit the config, are not finite, or a deviation is not above 0.
    """
    shape = (coefficients.space.horizon, len(coefficients.moving_dims))
    prior = jax.ShapeDtypeStruct(shape, np.dtype(np.float32))
    network = jax.eval_shape(lambda: shared_network.init(config.shared, jax.random.key(0)))
    wanted = {"shared": network._asdict(), "prior": {"mean": prior, "deviation": prior}}
    found = {name: arrays.get(name, {}) for name in wanted}
    _check(wanted, found)
    check_frozen(f"{WEIGHTS} shared/", found["shared"], shared_network.WEIGHT_NAMES)
    deviation = np.asarray(found["prior"]["deviation"])
    positive = bool((deviation > 0).all())
    require(positive, f"{WEIGHTS} prior/deviation", "above 0", float(deviation.min(initial=1.0)))
    params = SharedParams(**found["shared"])
    return SharedPath(config.shared, params, Prior(**found["prior"]), config.num_tokens)


def dense_from(
    config: OrderedConfig, coefficients: Coefficients, arrays: Arrays
) -> DensePath | None:
    """The dense path of stored arrays, if the config has one.

    Raises:
      ValueError: if they do not fit the config or are not finite.
    """
    quantizer, horizon = config.dense, coefficients.space.horizon
    if quantizer is None:
        require("dense" not in arrays, WEIGHTS, "without a dense path", "one")
        return None
    sizes = (horizon * len(coefficients.moving_dims), horizon * len(coefficients.gripper_dims))
    got = (quantizer.dim, quantizer.context_dim)
    require(sizes == got, "dense.dim and dense.context_dim", f"{sizes}", got)
    wanted = jax.eval_shape(lambda: conditional_start.plain(quantizer))
    found = arrays.get("dense", {})
    _check(wanted._asdict() | {"networks": wanted.networks._asdict()}, found)
    networks = found["networks"]
    check_frozen(f"{WEIGHTS} dense/networks/", networks, conditional_start.WEIGHT_NAMES)
    for name in ("residual_unit", "input_unit"):
        unit = np.asarray(found[name])
        fits = unit.dtype == np.int32 and bool((np.abs(unit) <= conditional_start.FARTHEST).all())
        expected = f"int32 within {conditional_start.FARTHEST}"
        require(fits, f"{WEIGHTS} dense/{name}", expected, str(unit.dtype))
    state = ConditionalState(**found | {"networks": Networks(**networks)})
    return DensePath(quantizer, state, horizon)


def _check(wanted: Arrays, found: Arrays) -> None:
    check_shapes(WEIGHTS, wanted, found)
    require_finite(WEIGHTS, found)
