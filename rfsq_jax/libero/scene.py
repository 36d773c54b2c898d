"""Where things are and how big they are, read from the simulator's collision geometry.

Shapes are sampled once in body frames; a query only rotates the samples.

Axes: P surface points · world frame in metres, z up.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.joints import Joint, read_joint
from rfsq_jax.libero.stock import mujoco

SPACING = 0.012
"""Metres between neighbouring samples of a collision box."""

NOT_THINGS = ("robot", "mount", "gripper", "floor", "table", "world")


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """A box in the world, the meaning of "in" and "on" for a region.

    Attributes:
      center: float64 [3], metres.
      rotation: float64 [3, 3], columns are the box's axes.
      half: float64 [3], half the edge lengths, metres.
    """

    center: Float64[np.ndarray, " 3"]
    rotation: Float64[np.ndarray, "3 3"]
    half: Float64[np.ndarray, " 3"]

    @property
    def reach(self) -> Float64[np.ndarray, " 3"]:
        """Half extents along the world's axes, as the benchmark's own test takes them."""
        return np.abs(self.rotation @ self.half)

    def contains(self, point: Float64[np.ndarray, " 3"]) -> bool:
        """Whether `point` [3] lies in the box's world-aligned hull."""
        return bool((np.abs(point - self.center) < self.reach).all())


class Scene:
    """Poses and collision shapes of the objects and fixtures of one simulation.

    Things are the children of the world other than robot, table and floor. They go by the names
    that the goals use: "plate_1", and "basket_1_contain_region" for a region of a thing.
    """

    def __init__(self, sim: Any) -> None:
        """Samples every thing's collision geometry.

        Args:
          sim: robosuite's MjSim.
        """
        self._model = sim.model._model
        self._data = sim.data._data
        self._roots = _thing_roots(self._model)
        self._shapes = {name: _shape(self._model, root) for name, root in self._roots.items()}

    @property
    def base(self) -> Float64[np.ndarray, " 3"]:
        """Where the arm stands: float64 [3], metres."""
        return self._data.body("robot0_base").xpos.copy()

    @property
    def things(self) -> tuple[str, ...]:
        """Names of all objects and fixtures."""
        return tuple(self._roots)

    def is_thing(self, name: str) -> bool:
        """Whether `name` is an object or a fixture, not a region."""
        return name in self._roots

    def position(self, name: str) -> Float64[np.ndarray, " 3"]:
        """Returns the position of a thing's body: float64 [3], metres."""
        return self._data.xpos[self._root(name)].copy()

    def rotation(self, name: str) -> Float64[np.ndarray, "3 3"]:
        """Returns the orientation of a thing's body as a matrix: float64 [3, 3]."""
        return self._data.xmat[self._root(name)].reshape(3, 3).copy()

    def points(self, name: str) -> Float64[np.ndarray, "p 3"]:
        """Returns samples of a thing's collision surface, in the world: float64 [P, 3]."""
        self._root(name)
        parts = [
            local @ self._data.xmat[body].reshape(3, 3).T + self._data.xpos[body]
            for body, local in self._shapes[name]
        ]
        return np.concatenate(parts)

    def joint(self, name: str) -> Joint | None:
        """Returns the joint that moves a region, or the first of a thing; None without one."""
        if self.is_thing(name):
            below = np.flatnonzero(self._model.body_rootid == self._root(name)).tolist()
            return read_joint(self._model, self._data, below)
        return read_joint(self._model, self._data, [int(self._model.site_bodyid[self._site(name)])])

    def part_points(self, body: int) -> Float64[np.ndarray, "p 3"]:
        """Returns surface samples of one moving part, number `body`: float64 [P, 3]."""
        root = self._model.body_rootid[body]
        name = next(thing for thing, number in self._roots.items() if number == root)
        local = dict(self._shapes[name])[body]
        return local @ self._data.xmat[body].reshape(3, 3).T + self._data.xpos[body]

    def obstacles(self, *excluded: str) -> Float64[np.ndarray, "p 3"]:
        """Returns surface samples of every thing but the excluded: float64 [P, 3]."""
        parts = [self.points(name) for name in self._roots if name not in excluded]
        return np.concatenate([np.zeros((0, 3)), *parts])

    def lowest(self, name: str) -> float:
        """Returns the height of a thing's lowest point, metres."""
        return float(self.points(name)[:, 2].min())

    def highest(self, name: str) -> float:
        """Returns the height of a thing's highest point, metres."""
        return float(self.points(name)[:, 2].max())

    def region(self, name: str) -> Region:
        """Returns a region of a thing.

        Raises:
          ValueError: if the scene has no such region.
        """
        site = self._site(name)
        rotation = self._data.site_xmat[site].reshape(3, 3).copy()
        return Region(
            self._data.site_xpos[site].copy(), rotation, self._model.site_size[site].copy()
        )

    def owner(self, name: str) -> str | None:
        """Returns the thing that the region `name` belongs to; None for one of table or floor."""
        if self.is_thing(name):
            return name
        root = self._model.body_rootid[self._model.site_bodyid[self._site(name)]]
        return next((thing for thing, body in self._roots.items() if body == root), None)

    def _site(self, name: str) -> int:
        site = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_SITE, name)
        if site < 0:
            raise ValueError(f"region must name a site of the scene, got {name!r}")
        return site

    def _root(self, name: str) -> int:
        if name not in self._roots:
            raise ValueError(f"thing must be one of {', '.join(self._roots)}; got {name!r}")
        return self._roots[name]


def tallest_near_path(
    points: Float64[np.ndarray, "p 3"],
    start: Float64[np.ndarray, " 3"],
    end: Float64[np.ndarray, " 3"],
    radius: float,
) -> float:
    """Returns the greatest height of `points` within `radius` (m) of a path seen from above.

    Returns:
      metres; -inf where nothing is near.
    """
    along = end[:2] - start[:2]
    offset = points[:, :2] - start[:2]
    fraction = np.clip(offset @ along / max(float(along @ along), 1e-9), 0.0, 1.0)
    distance = np.linalg.norm(offset - fraction[:, None] * along, axis=1)
    return float(points[distance < radius, 2].max(initial=-np.inf))


def _thing_roots(model: Any) -> dict[str, int]:
    roots = {}
    for body in range(1, model.nbody):
        name = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_BODY, body)
        is_child = model.body_parentid[body] == 0
        if is_child and name.endswith("_main") and not name.startswith(NOT_THINGS):
            roots[name.removesuffix("_main")] = body
    return roots


def _shape(model: Any, root: int) -> list[tuple[int, np.ndarray]]:
    """Samples in the frame of each moving body below `root`: (body, float64 [P, 3])."""
    shape = []
    for body in np.flatnonzero(model.body_rootid == root):
        geoms = [
            geom
            for geom in np.flatnonzero(model.geom_bodyid == body).tolist()
            if model.geom_contype[geom] or model.geom_conaffinity[geom]
        ]
        if geoms:
            samples = np.concatenate([_geom_points(model, geom) for geom in geoms])
            shape.append((int(body), samples))
    return shape


def _geom_points(model: Any, geom: int) -> Float64[np.ndarray, "p 3"]:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, model.geom_quat[geom])
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        local = model.mesh_vert[first : first + model.mesh_vertnum[mesh]].astype(np.float64)
    else:
        local = _box_points(_half_extents(model, geom))
    return local @ matrix.reshape(3, 3).T + model.geom_pos[geom]


def _half_extents(model: Any, geom: int) -> Float64[np.ndarray, " 3"]:
    """Half edges of the box around a primitive, float64 [3]."""
    kind, size = model.geom_type[geom], model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return np.full(3, size[0])
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return np.array([size[0], size[0], size[1]])
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        return np.array([size[0], size[0], size[0] + size[1]])
    return size.copy()


def _box_points(half: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "p 3"]:
    """Samples the surface of a box with half edges [3]: float64 [P, 3]."""
    ticks = [np.linspace(-h, h, 2 + int(2 * h / SPACING)) for h in half]
    grid = np.array(list(itertools.product(*ticks)))
    on_surface = (np.abs(grid) > half - 1e-9).any(axis=1)
    return grid[on_surface]
