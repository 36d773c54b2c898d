"""What `import rfsq_jax` brings in, and that the public names are there."""

import subprocess
import sys

import pytest

import rfsq_jax
from rfsq_jax import ActionTokenizer, rfsq

HEAVY = "torch tensorflow mujoco libero robosuite h5py matplotlib scipy tokenizers tyro orbax"


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_needs_only_jax_flax_and_numpy():
    code = f"""
import sys
import jax, flax
before = set(sys.modules)
import rfsq_jax
added = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(added & set("{HEAVY}".split())))
"""
    assert run_python(code) == ""


def test_naming_tasks_needs_no_simulator():
    code = """
import sys
import rfsq_jax.libero.tasks, rfsq_jax.libero.lattice
print(*sorted({"mujoco", "robosuite", "libero"} & set(sys.modules)))
"""
    assert run_python(code) == ""


@pytest.mark.parametrize(
    "name", ["RFSQConfig", "init", "quantize", "calibrate", "encode", "decode"]
)
def test_the_core_has_its_names(name):
    assert name in rfsq.__all__
    assert getattr(rfsq, name).__doc__


def test_the_front_door_is_small():
    assert rfsq_jax.__all__ == ["ActionTokenizer", "Policy", "get_backbone", "rfsq"]
    assert all(getattr(rfsq_jax, name).__doc__ for name in rfsq_jax.__all__)
    for name in ("from_pretrained", "save_pretrained", "encode", "decode", "fit"):
        assert getattr(ActionTokenizer, name).__doc__


def test_the_bundled_tokenizer_reconstructs_bundled_actions():
    from rfsq_jax.data.episodes import episode_chunks
    from rfsq_jax.data.errors import reconstruction_errors
    from rfsq_jax.libero.demonstrations.bundled import load_bundled

    tokenizer = ActionTokenizer.from_pretrained("libero")
    for suite in ("libero_spatial", "libero_object"):
        chunks = episode_chunks(load_bundled(suite)[7].actions, tokenizer.horizon)
        decoded = tokenizer.decode(tokenizer.encode(chunks))
        errors = reconstruction_errors(chunks, decoded, tokenizer.space)
        assert errors["mse"] < 5e-5
        assert errors["gripper_flips"] == 0.0
