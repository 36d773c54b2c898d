"""What each head may see, and what it must not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from tests.support.heads import CODES, SHAPE, SMALL, TOKENS, codes, features, heads, states


def test_logits_have_one_row_of_levels_per_token():
    both = heads()
    hidden = both.main.hidden(features(SHAPE.final), states())
    assert hidden.shape == (3, CODES.horizon, SMALL.width)
    assert both.main.coarse(hidden).shape == (3, CODES.horizon, CODES.dim, 2, 7)
    fine = both.main.fine(hidden, codes(layers=2))
    assert fine.shape == (3, CODES.horizon, CODES.dim, 3, 7)
    draft = both.draft(features(SHAPE.early), states())
    assert draft.shape == (3, CODES.horizon, CODES.dim, 2, 7)


def test_fine_layers_of_a_step_see_that_steps_codes_alone():
    both = heads()
    hidden = both.main.hidden(features(SHAPE.final), states())
    given = codes(layers=2)
    changed = given.copy()
    changed[:, 1] = (changed[:, 1] + 1) % 7
    before, after = both.main.fine(hidden, given), both.main.fine(hidden, changed)
    assert np.abs(before[:, 1] - after[:, 1]).max() > 1e-4
    others = [0, 2, 3]
    np.testing.assert_array_equal(before[:, others], after[:, others])


@pytest.mark.parametrize("kind", ["tokens", "bins", "regression"])
def test_samples_do_not_see_each_other(kind):
    config = TOKENS if kind == "tokens" else HeadsConfig(kind=kind, main=SMALL, draft=None)
    head = heads(config).main
    run = head.hidden if kind == "tokens" else head
    seen, state = features(SHAPE.final), states()
    whole = run(seen, state)
    for row in range(3):
        alone = run(seen[row : row + 1], state[row : row + 1])
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-4, atol=1e-5)


def test_every_part_of_the_input_matters():
    main = heads().main
    seen, state = features(SHAPE.final), states()
    base = main.hidden(seen, state)
    for place in (0, SHAPE.final.image_tokens - 1, SHAPE.final.tokens - 1):
        changed = seen.copy()
        changed[:, place] = changed[::-1, place]
        assert np.abs(main.hidden(changed, state) - base).max() > 1e-5, place
    for place in range(8):
        moved = state.copy()
        moved[:, place] += 1.0
        assert np.abs(main.hidden(seen, moved) - base).max() > 1e-5, place


def test_a_blind_head_sees_words_and_state_but_no_picture():
    blind = HeadsConfig(main=dataclasses.replace(SMALL, blind=True), draft=None)
    main = heads(blind).main
    seen, state = features(SHAPE.final), states()
    base = main.hidden(seen, state)
    other = features(SHAPE.final, seed=5)
    other[:, SHAPE.final.image_tokens :] = seen[:, SHAPE.final.image_tokens :]
    np.testing.assert_array_equal(main.hidden(other, state), base)
    assert np.abs(main.hidden(features(SHAPE.final, seed=5), state) - base).max() > 1e-5


def test_half_precision_stays_close_to_float32():
    exact = heads(HeadsConfig(main=SMALL, draft=None))
    half = heads(HeadsConfig(main=dataclasses.replace(SMALL, dtype="bfloat16"), draft=None))
    seen, state = features(SHAPE.final).astype(np.float16), states()
    a, b = exact.main.hidden(seen, state), half.main.hidden(seen, state)
    assert a.dtype == b.dtype == jnp.float32
    assert 0 < float(jnp.abs(a - b).max()) < 0.1


def test_the_draft_costs_a_fraction_of_the_main_head():
    both, size = heads(), lambda head: sum(x.size for x in jax.tree.leaves(head))
    assert size(both.draft) < 0.5 * size(both.main)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (TrunkConfig, {"width": 10, "num_heads": 3}, "width must be a multiple of num_heads"),
        (TrunkConfig, {"num_blocks": 0}, "num_blocks must be at least 1"),
        (TrunkConfig, {"dtype": "float64"}, "dtype must be one of"),
        (HeadsConfig, {"kind": "diffusion"}, "kind must be one of"),
        (HeadsConfig, {"kind": "bins"}, "draft must be None for bins"),
        (HeadsConfig, {"point_estimate": "argmax"}, "point_estimate must be one of"),
        (
            CodeShape,
            {"horizon": 8, "dim": 16, "num_layers": 8, "num_levels": 7, "coarse": 8},
            "coarse must be below num_layers",
        ),
    ],
)
def test_configs_validate_themselves(make, options, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        make(**options)
