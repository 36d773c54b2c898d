"""The scan over residual layers, whatever conditions them: normalise, quantise, denormalise.

    constants_l = condition(layer l, codes of layers < l)
    k_l = nearest levels of the residual r_l, normalised by constants_l
    r_{l+1} = r_l - value of k_l

Axes: ... any leading axes · D latent dims · G codes of a layer · L residual layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from rfsq_jax.rfsq import conditional, exact, layers
from rfsq_jax.rfsq.config import RFSQConfig
from rfsq_jax.rfsq.layers import AnyArray

State = Any
"""An `RFSQState`, or with conditioning "conditional" a `ConditionalState`."""


@runtime_checkable
class Rule(Protocol):
    """What a conditioning defines; the modules `layers` and `conditional` do."""

    def prepared(self, z: Any) -> Any:
        """The vectors as the layers take them."""
        ...

    def nothing_seen(self, config: RFSQConfig, shape: tuple[int, ...]) -> Any:
        """What is known of vectors with these leading axes before the first code."""
        ...

    def condition(
        self, config: RFSQConfig, layer: Any, context: Any, residual: Any, seen: Any
    ) -> tuple[Any, Any]:
        """A layer's constants, and what is seen."""
        ...

    def nearest_offset(self, config: RFSQConfig, constants: Any, residual: Any) -> Any:
        """Normalises and quantises."""
        ...

    def value_of(self, config: RFSQConfig, constants: Any, offset: Any) -> Any:
        """Denormalises."""
        ...

    def see(self, seen: Any, value: Any, offset: Any) -> Any:
        """What is seen with one layer more."""
        ...

    def expected(self, constants: Any, seen: Any) -> Any:
        """What the codes so far decode to, given the next layer's constants."""
        ...

    def reported(self, constants: Any) -> Any:
        """What a forward pass keeps of every layer's constants."""
        ...


class Pass(NamedTuple):
    """All layers of one forward pass, layer axis first."""

    z_hat: Float[Array, "*n d"]
    residuals: Float[Array, "l *n d"]
    codes: Int[Array, "l *n g"]
    constants: Any


class Prefixes(NamedTuple):
    """What training looks at.

    Attributes:
      errors: z minus what every prefix of its codes decodes to, from none of them on.
      offsets: of the codes from the middle level, with the gradients of what was rounded.
    """

    errors: Float[Array, "m *n d"]
    offsets: Float[Array, "l *n g"]


def rule_of(config: RFSQConfig) -> Rule:
    """The module that runs a layer."""
    return conditional if config.conditioning == "conditional" else layers


def forward(
    config: RFSQConfig,
    state: State,
    z: Float[Array, "*n d"],
    keep: Int[AnyArray, "*n"] | None = None,
    context: Float[Array, "*n c"] | None = None,
) -> Pass:
    """Runs all layers; `keep` of them count toward z_hat."""
    rule, half = rule_of(config), (config.num_levels - 1) / 2
    z = rule.prepared(z)

    def layer(carry: tuple[Array, Any], inputs: tuple[Array, Any]) -> tuple[Any, Any]:
        (residual, seen), (index, given) = carry, inputs
        constants, offset, value, seen = _quantized(config, given, context, residual, seen)
        code = (jax.lax.stop_gradient(offset) + half).astype(jnp.int32)
        kept = value if keep is None else jnp.where(index < keep[..., None], value, 0.0)
        return (residual - value, rule.see(seen, kept, offset)), (
            residual,
            code,
            rule.reported(constants),
        )

    first, last = split_layers(config, state, z.ndim, config.num_layers)
    start = (z, rule.nothing_seen(config, z.shape[:-1]))
    inputs = (jnp.arange(config.num_layers), first)
    (_, seen), outputs = jax.lax.scan(layer, start, inputs, unroll=_unroll(config))
    return Pass(_decoded(config, last, context, seen), *outputs)


def decode(
    config: RFSQConfig,
    state: State,
    codes: Shaped[Array, "l *n g"],
    context: Float[Array, "*n c"] | None = None,
) -> Float[Array, "*n d"]:
    """What codes, or levels between them, of the first layers add up to; the layer axis first."""
    step = _decoder(config, context)
    first, last = split_layers(config, state, codes.ndim - 1, len(codes))
    start = rule_of(config).nothing_seen(config, codes.shape[1:-1])
    unroll = _unroll(config)
    seen = jax.lax.scan(lambda *a: (step(*a)[0], None), start, (codes, first), unroll=unroll)[0]
    return _decoded(config, last, context, seen)


def decode_prefixes(
    config: RFSQConfig,
    state: State,
    codes: Shaped[Array, "l *n g"],
    context: Float[Array, "*n c"] | None = None,
    discount: float = 1.0,
) -> Float[Array, "m *n d"]:
    """What every prefix of the codes decodes to, from none of them on: L + 1 values.

    Gradients are discounted as in `prefixes`.
    """
    step = _decoder(config, context)

    def layer(seen: Any, inputs: tuple[Array, Any]) -> tuple[Any, Array]:
        return step(_discounted(seen, discount), inputs)

    first, last = split_layers(config, state, codes.ndim - 1, len(codes))
    start = rule_of(config).nothing_seen(config, codes.shape[1:-1])
    seen, values = jax.lax.scan(layer, start, (codes, first))
    whole = _decoded(config, last, context, _discounted(seen, discount))
    return jnp.concatenate([values, whole[None]])


def prefixes(
    config: RFSQConfig,
    state: State,
    z: Float[Array, "*n d"],
    context: Float[Array, "*n c"] | None = None,
    discount: float = 1.0,
) -> Prefixes:
    """Quantises to train conditional layers.

    Args:
      config: the quantiser.
      state: its networks.
      z: what is quantised.
      context: as elsewhere.
      discount: how much of a prefix's gradient reaches the layer before its last, that much of it
        the one before that, and so on. With 1.0 the many deep layers shape the first ones, whose
        own errors then double.
    """
    rule = rule_of(config)

    def layer(carry: tuple[Array, Any], given: State) -> tuple[Any, tuple[Array, Array]]:
        own = carry[0]
        residual, seen = _discounted(carry, discount)
        constants, offset, value, seen = _quantized(config, given, context, residual, seen)
        carry = residual - value, rule.see(seen, value, offset)
        return carry, (own - rule.reported(constants), offset)

    start = (rule.prepared(z), rule.nothing_seen(config, z.shape[:-1]))
    errors, offsets = jax.lax.scan(layer, start, state)[1]
    return Prefixes(errors, offsets[:-1])


def layers_last(codes: Int[Array, "l *n g"]) -> Int[Array, "*n g l"]:
    """Moves the layer axis to the end; as a stack it fuses with the scan, a transpose does not."""
    return jnp.stack([*codes], axis=-1)


def _discounted(carry: Any, discount: float) -> Any:
    """The same, with so much of the gradient."""
    return jax.tree.map(lambda x: exact.with_gradient(x, discount * x), carry)


def _quantized(
    config: RFSQConfig, given: State, context: Any, residual: Array, seen: Any
) -> tuple[Any, Array, Array, Any]:
    """One layer's constants, offsets and their values, and what is seen before them."""
    rule = rule_of(config)
    constants, seen = rule.condition(config, given, context, residual, seen)
    offset = rule.nearest_offset(config, constants, residual)
    return constants, offset, rule.value_of(config, constants, offset), seen


def _decoder(config: RFSQConfig, context: Any) -> Any:
    rule, half = rule_of(config), (config.num_levels - 1) / 2

    def layer(seen: Any, inputs: tuple[Array, Any]) -> tuple[Any, Array]:
        code, given = inputs
        constants, seen = rule.condition(config, given, context, None, seen)
        offset = code.astype(jnp.float32) - half
        value = rule.value_of(config, constants, offset)
        return rule.see(seen, value, offset), rule.expected(constants, seen)

    return layer


def split_layers(config: RFSQConfig, state: State, rank: int, used: int) -> tuple[Any, Any]:
    """The state of the layers that are used, and of the one after them, for vectors of a rank."""
    if config.conditioning == "conditional":
        return jax.tree.map(lambda leaf: leaf[:used], state), jax.tree.map(
            lambda leaf: leaf[used], state
        )
    if config.statistics == "frozen":
        state = layers.broadcastable(state, rank)
    return jax.tree.map(lambda leaf: leaf[:used], state), None


def _decoded(config: RFSQConfig, last: Any, context: Any, seen: Any) -> Array:
    rule = rule_of(config)
    if last is None:
        return rule.expected(None, seen)
    return rule.expected(*rule.condition(config, last, context, None, seen))


def _unroll(config: RFSQConfig) -> bool:
    """A layer of constants is too small to be a loop's body; one of networks is not."""
    return config.conditioning != "conditional"
