"""The option `--ray`: workers on the machines of a Ray cluster instead of this one."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

from rfsq_jax.parallel.places import LOCAL, Place
from rfsq_jax.runs.checks import NotInstalledError


@contextlib.contextmanager
def place_of(ray: str | None) -> Iterator[Place]:
    """Where workers run.

    Args:
      ray: the address of a cluster; None for this machine.

    Raises:
      NotInstalledError: if Ray is not installed.
      ValueError: if there is no cluster.
    """
    if ray is None:
        yield LOCAL
        return
    if importlib.util.find_spec("ray") is None:
        raise NotInstalledError("--ray needs Ray: install rfsq-jax[ray]")
    from rfsq_jax.parallel.ray_cluster import RayCluster

    with RayCluster(ray) as cluster:
        yield cluster
