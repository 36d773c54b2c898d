"""A backbone of a few products, and files of demonstrations with pictures for it."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from rfsq_jax.backbones.protocol import EARLY, FINAL, Backbone, BackboneSpec, Depth
from tests.support.processes import wait_to_be_killed

SPEC = BackboneSpec(
    name="patches",
    version="00112233445566aa",
    cameras=2,
    image_size=8,
    preprocessing="quarters of each picture",
    depths={EARLY: Depth(9, 3, 8), FINAL: Depth(9, 5, 8)},
)


class Patches(Backbone):
    """Mean colours of quarters; then a fixed product. The instruction's token is its length."""

    def __init__(self, spec=SPEC):
        super().__init__(spec)
        self.params = {"kernel": jax.random.normal(jax.random.key(0), (3, 5))}

    def prepare(self, observations):
        observations.check(cameras=2)
        words = np.array([[len(each)] * 3 for each in observations.instructions], np.float32)
        return {"images": observations.images, "words": words / 50}

    def early(self, params, inputs):
        cut = inputs["images"].astype(jnp.float32) / 128 - 1
        cut = cut.reshape(*cut.shape[:2], 2, 4, 2, 4, 3).mean(axis=(3, 5))
        tokens = cut.reshape(len(cut), 8, 3)
        tokens = jnp.concatenate([tokens, inputs["words"][:, None]], axis=1)
        return tokens, tokens

    def late(self, params, carry):
        return jnp.tanh(carry @ params["kernel"])


class StuckPatches(Patches):
    """Stops in the middle of the shard after the first, to be killed there."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def prepare(self, observations):
        if list(self.output.glob("shard-*/shard.json")):
            wait_to_be_killed()
        return super().prepare(observations)


def write_demonstrations(path, lengths, seed=0, images=True):
    """A file of the public layout, with 8 x 8 pictures of noise."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for number, steps in enumerate(lengths):
            group = data.create_group(f"demo_{number}")
            group["actions"] = rng.uniform(-1, 1, (steps, 7))
            group["obs/ee_states"] = rng.normal(size=(steps, 6))
            group["obs/gripper_states"] = rng.normal(size=(steps, 2))
            if images:
                for name in ("agentview_rgb", "eye_in_hand_rgb"):
                    group[f"obs/{name}"] = rng.integers(0, 256, (steps, 8, 8, 3), np.uint8)
