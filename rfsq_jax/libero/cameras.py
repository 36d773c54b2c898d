"""Renders the scene's cameras as policies know them.

Axes: P positions of the whole model · H, W image.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from rfsq_jax.libero.install import require_rendering
from rfsq_jax.libero.stock import mujoco
from rfsq_jax.runs.checks import require

MAX_GEOMS = 1000
COLLISION_GEOMS = 0


class Cameras:
    """An OpenGL context and the cameras it renders."""

    def __init__(self, model: Any, names: Sequence[str], image_size: int) -> None:
        """Opens the context.

        Raises:
          RenderingError: if no OpenGL backend works.
          ValueError: for an unknown camera, or an image larger than the model allows.
        """
        self._names = tuple(names)
        self._ids = _camera_ids(model, self._names)
        limit = min(model.vis.global_.offwidth, model.vis.global_.offheight)
        require(1 <= image_size <= limit, "image_size", f"in 1..{limit}", image_size)
        self._model, self._size = model, image_size
        # The image may be of an earlier moment than the simulation's, so it has its own data.
        self._data = mujoco.MjData(model)
        backend = importlib.import_module(f"mujoco.{require_rendering()}")
        self._opengl = backend.GLContext(image_size, image_size)
        self._opengl.make_current()
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[COLLISION_GEOMS] = 0
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def render(self, positions: Float64[np.ndarray, " p"]) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
        """Renders the scene at `positions`; each image is the stock one rotated by 180 degrees."""
        self._opengl.make_current()
        self._data.qpos[:] = positions
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        return {
            name: self._render_one(index)
            for name, index in zip(self._names, self._ids, strict=True)
        }

    def close(self) -> None:
        """Frees the context."""
        self._context.free()
        self._opengl.free()

    def _render_one(self, camera: int) -> UInt8[np.ndarray, "h w 3"]:
        view = mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            self._model, self._data, self._options, None, view, everything, self._scene
        )
        area = mujoco.MjrRect(0, 0, self._size, self._size)
        mujoco.mjr_render(area, self._scene, self._context)
        image = np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjr_readPixels(image, None, area, self._context)
        # OpenGL's rows run upwards and stock images keep that, so the rotated one is mirrored.
        return np.ascontiguousarray(image[::-1, ::-1])


def _camera_ids(model: Any, names: Sequence[str]) -> list[int]:
    known = [model.camera(index).name for index in range(model.ncam)]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"cameras must be among {', '.join(known)}; got {', '.join(unknown)}")
    return [known.index(name) for name in names]
