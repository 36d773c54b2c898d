"""The reference heads against PyTorch modules that share nothing with them but the checkpoint."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rfsq_jax.heads.config import CodeShape
from rfsq_jax.heads.reference import (
    ReferenceConditionalMain,
    ReferenceConfig,
    ReferenceDraft,
    ReferenceMain,
    from_checkpoint,
)

SMALL = ReferenceConfig(
    feature_dim=24,
    codes=CodeShape(horizon=4, dim=3, num_layers=5, num_levels=7, coarse=2),
    main_width=20,
    token_width=6,
    draft_width=16,
)
UNPROJECTED = dataclasses.replace(SMALL, draft_projection=False)
FULL = ReferenceConfig()
DRAFTS = [(SMALL, 2), (SMALL, 8), (UNPROJECTED, 4), (FULL, 8)]
BATCH = 5


def features(width: int = SMALL.feature_dim) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(BATCH, width)).astype(np.float32)


def coarse_codes(config: ReferenceConfig) -> np.ndarray:
    codes = config.codes
    shape = (BATCH, codes.horizon, codes.dim, codes.coarse)
    return np.random.default_rng(2).integers(0, codes.num_levels, shape)


def randomized(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights that keep activations near one, and that no norm or bias hides behind."""
    rng = np.random.default_rng(3)
    weights = {}
    for key, shape in shapes.items():
        value = rng.normal(size=shape)
        if len(shape) == 2 and "embedding" not in key:
            value /= np.sqrt(shape[1])
        elif len(shape) == 1:
            value = 0.5 * value + key.endswith("weight")
        # A tiny variance in the first layer's head, where the epsilon of a norm shows.
        tiny = "_heads.0.0." in key
        weights[key] = (value * (0.01 if tiny else 1.0)).astype(np.float32)
    return weights


def main_shapes(config: ReferenceConfig) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the unconditional main head as they are published."""
    width, half = config.main_width, config.main_width // 2
    outputs = config.codes.horizon * config.codes.dim * config.codes.num_levels
    linears = {"feature_proj.0": (width, config.feature_dim)}
    norms = {"feature_proj.2": (width,)}
    for layer in range(config.codes.num_layers):
        name = f"layer_heads.{layer}"
        linears |= {f"{name}.0": (half, width), f"{name}.3": (outputs, half)}
        norms[f"{name}.2"] = (half,)
    weights = {f"{name}.weight": shape for name, shape in (linears | norms).items()}
    return weights | {f"{name}.bias": shape[:1] for name, shape in (linears | norms).items()}


def torch_stack(nn: Any, inputs: int, width: int, outputs: int | None = None) -> Any:
    parts = [nn.Linear(inputs, width), nn.GELU(), nn.LayerNorm(width)]
    return nn.Sequential(*parts, *([nn.Linear(width, outputs)] if outputs else []))


def torch_main(nn: Any, config: ReferenceConfig, conditional: bool) -> Any:
    width, codes = config.main_width, config.codes
    tokens = codes.horizon * codes.dim
    model = nn.Module()
    model.feature_proj = torch_stack(nn, config.feature_dim, width)
    if conditional:
        model.token_embedding = nn.Embedding(codes.num_levels, config.token_width)
        model.token_proj = torch_stack(nn, tokens * codes.coarse * config.token_width, width)
        model.fusion = torch_stack(nn, 2 * width, width)
    model.layer_heads = nn.ModuleList(
        torch_stack(nn, width, width // 2, tokens * codes.num_levels)
        for _ in range(codes.num_layers)
    )
    return model


def torch_draft(torch: Any, config: ReferenceConfig, num_heads: int) -> Any:
    nn, codes, width = torch.nn, config.codes, config.draft_width
    model = nn.Module()
    if config.draft_projection:
        model.input_projection = nn.Linear(config.feature_dim, width)
    model.decoder = nn.Module()
    options = {"activation": "gelu", "norm_first": True, "batch_first": True}
    model.decoder.decoder_layer = nn.TransformerDecoderLayer(width, num_heads, 4 * width, **options)
    positions = torch.empty(1, 256, width)
    model.decoder.position_encoding = nn.Parameter(positions)
    model.decoder.output_norm = nn.LayerNorm(width)
    outputs = codes.horizon * codes.dim * codes.num_levels
    model.classification_heads = nn.ModuleList(
        torch_stack(nn, width, width // 2, outputs) for _ in range(codes.coarse)
    )
    return model


def filled(torch: Any, model: Any) -> dict[str, np.ndarray]:
    """Fills a PyTorch module with random weights and returns them."""
    weights = randomized({key: tuple(v.shape) for key, v in model.state_dict().items()})
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    model.eval()
    return weights


def torch_logits(torch: Any, heads: Any, hidden: Any, config: ReferenceConfig) -> np.ndarray:
    tokens = config.codes.horizon * config.codes.dim
    logits = [head(hidden).view(-1, tokens, config.codes.num_levels) for head in heads]
    return torch.stack(logits, dim=1).detach().numpy()


def assert_close(ours: Any, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.3
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("config", [SMALL, FULL], ids=["small", "full"])
def test_main_heads_agree_with_pytorch(config, conditional):
    torch = pytest.importorskip("torch")
    model = torch_main(torch.nn, config, conditional)
    weights = filled(torch, model)
    seen, codes = features(config.feature_dim), coarse_codes(config)
    hidden = model.feature_proj(torch.from_numpy(seen))
    if conditional:
        given = model.token_proj(model.token_embedding(torch.from_numpy(codes)).flatten(1))
        hidden = model.fusion(torch.cat([hidden, given], dim=-1))
        ours = from_checkpoint(ReferenceConditionalMain, config, weights)(seen, codes)
    else:
        ours = from_checkpoint(ReferenceMain, config, weights)(seen)
    assert_close(ours, torch_logits(torch, model.layer_heads, hidden, config))


@pytest.mark.parametrize(("config", "num_heads"), DRAFTS)
def test_draft_agrees_with_pytorch(config, num_heads):
    torch = pytest.importorskip("torch")
    model = torch_draft(torch, config, num_heads)
    head = from_checkpoint(ReferenceDraft, config, filled(torch, model))
    seen = features(config.feature_dim if config.draft_projection else config.draft_width)
    token = torch.from_numpy(seen)
    token = model.input_projection(token) if config.draft_projection else token
    token = token[:, None] + model.decoder.position_encoding[:, :1]
    hidden = model.decoder.output_norm(model.decoder.decoder_layer(token, token))[:, 0]
    assert_close(head(seen), torch_logits(torch, model.classification_heads, hidden, config))


def test_full_heads_have_the_published_shapes_and_sizes():
    def size(head: Any) -> int:
        _, state = nnx.split(nnx.eval_shape(lambda: head(FULL, rngs=nnx.Rngs(0))))
        return sum(leaf.size for leaf in jax.tree.leaves(state))

    main = 4096 * 1024 + 3 * 1024 + 8 * (1024 * 512 + 3 * 512 + 512 * 896 + 896)
    given = 7 * 64 + 24576 * 1024 + 3 * 1024 + 2048 * 1024 + 3 * 1024
    layer = 2 * (4 * 512 * 512 + 4 * 512) + 2 * 512 * 2048 + 2048 + 512 + 3 * 2 * 512
    heads = 3 * (512 * 256 + 3 * 256 + 256 * 896 + 896)
    assert size(ReferenceMain) == main
    assert size(ReferenceConditionalMain) == main + given
    assert size(ReferenceDraft) == 4096 * 512 + 512 + 256 * 512 + layer + 2 * 512 + heads
    assert sum(int(np.prod(shape)) for shape in main_shapes(FULL).values()) == main


@pytest.mark.parametrize("name", ["model", "model_state_dict"])
def test_a_nested_state_dict_is_the_same_checkpoint(name):
    weights = randomized(main_shapes(SMALL))
    flat = from_checkpoint(ReferenceMain, SMALL, weights)
    nested = from_checkpoint(ReferenceMain, SMALL, {"epoch": 3, name: weights})
    np.testing.assert_array_equal(nested(features()), flat(features()))


def test_samples_do_not_see_each_other_and_jit_changes_nothing():
    head = from_checkpoint(ReferenceMain, SMALL, randomized(main_shapes(SMALL)))
    whole = head(features())
    np.testing.assert_allclose(nnx.jit(head)(features()), whole, rtol=1e-5, atol=1e-6)
    for row in range(BATCH):
        alone = head(features()[row : row + 1])
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-5, atol=1e-6)


def test_half_precision_features_and_weights_are_taken_as_float32():
    weights = {k: v.astype(np.float16) for k, v in randomized(main_shapes(SMALL)).items()}
    head = from_checkpoint(ReferenceMain, SMALL, weights)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(head))} == {np.dtype("float32")}
    assert head(jnp.asarray(features(), jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layer_heads.5.0.bias", np.zeros(10), r"expected nothing, got \(10,\)"),
        ("feature_proj.0.weight", np.zeros((24, 20)), r"expected \(20, 24\), got \(24, 20\)"),
        ("feature_proj.2.bias", np.full(20, np.nan), "must be finite"),
    ],
)
def test_bad_checkpoints_are_refused_by_key(key, value, message):
    with pytest.raises(ValueError, match=f"{key} {message}"):
        from_checkpoint(ReferenceMain, SMALL, randomized(main_shapes(SMALL)) | {key: value})


def test_every_problem_is_named_at_once():
    weights = randomized(main_shapes(SMALL)) | {"step": np.zeros(())}
    del weights["layer_heads.2.3.weight"]
    message = r"layer_heads.2.3.weight expected \(84, 10\), got nothing; step expected nothing"
    with pytest.raises(ValueError, match=message):
        from_checkpoint(ReferenceMain, SMALL, weights)


def test_integer_weights_and_two_state_dicts_are_refused():
    weights = randomized(main_shapes(SMALL))
    with pytest.raises(TypeError, match=r"feature_proj\.0\.bias must be floating point, got int"):
        from_checkpoint(ReferenceMain, SMALL, weights | {"feature_proj.0.bias": np.arange(20)})
    with pytest.raises(ValueError, match="checkpoint must be nested under one key"):
        from_checkpoint(ReferenceMain, SMALL, {"model": weights, "model_state_dict": weights})


def test_features_of_another_width_are_refused(unchecked_types):
    for head in (ReferenceMain, ReferenceDraft):
        built = head(SMALL, rngs=nnx.Rngs(0))
        for wrong in (np.zeros((2, 23), np.float32), np.zeros(24, np.float32)):
            with pytest.raises(ValueError, match=r"features must be of shape \[B, 24\]"):
                built(wrong)


def test_codes_that_cannot_be_are_refused(unchecked_types):
    head = ReferenceConditionalMain(SMALL, rngs=nnx.Rngs(0))
    codes, seen = coarse_codes(SMALL), features()
    with pytest.raises(ValueError, match=r"codes must be of shape \('B', 4, 3, 2\)"):
        head(seen, codes[..., :1])
    with pytest.raises(ValueError, match=r"codes must be in \[0, 7\)"):
        head(seen, codes + 1)
    with pytest.raises(TypeError, match="codes must be integers"):
        head(seen, codes.astype(np.float32))


@pytest.mark.parametrize(("field", "value"), [("feature_dim", 0), ("main_width", 1)])
def test_configs_validate_themselves(field, value):
    with pytest.raises(ValueError, match=f"{field} must be at least {value + 1}"):
        ReferenceConfig(**{field: value})
