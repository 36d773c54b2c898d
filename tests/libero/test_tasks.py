import pytest

from rfsq_jax.libero.tasks import (
    STEP_LIMITS,
    SUITES,
    available_suites,
    get_task,
    official_init_states,
    step_limit,
    tasks,
)


def test_the_original_suites_have_their_tasks():
    assert [len(tasks(suite)) for suite in SUITES] == [10, 10, 10, 10, 90]
    for suite in SUITES:
        for index, task in enumerate(tasks(suite)):
            assert (task.index, task.step_limit) == (index, STEP_LIMITS[suite])
            assert task.bddl_file.is_file()


def test_the_official_order_and_words():
    assert get_task("libero_object", 0).instruction == (
        "pick up the alphabet soup and place it in the basket"
    )
    assert get_task("libero_10", 2).instruction == "turn on the stove and put the moka pot on it"


def test_reworded_variants_take_their_words_from_the_scene_file():
    variant, original = get_task("libero_spatial_lan", 0), get_task("libero_spatial", 0)
    assert variant.name == original.name
    assert variant.instruction == (
        "lift the black bowl between the plate and ramekin and set it on the plate"
    )
    assert variant.step_limit == original.step_limit


def test_an_unknown_suite_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="libero_spatial, libero_object"):
        tasks("libero_moon")
    with pytest.raises(ValueError, match=r"0\.\.9 for libero_goal, got 10"):
        get_task("libero_goal", 10)
    with pytest.raises(ValueError, match="libero_moon"):
        step_limit("libero_moon")
    assert "libero_goal_swap" in available_suites()


@pytest.mark.parametrize(("suite", "size"), [("libero_spatial", 92), ("libero_object", 110)])
def test_official_initial_states(suite, size):
    assert official_init_states(get_task(suite, 0)).shape == (50, size)
