"""Where a training runs: the options that say nothing about what it makes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from jax.sharding import Mesh

from rfsq_jax.parallel.hosts import Distributed, joined
from rfsq_jax.parallel.sharding import MeshConfig
from rfsq_jax.runs.commands import user_errors


@dataclasses.dataclass(frozen=True)
class Machines:
    """Processes and devices; another number of them resumes the same run.

    Attributes:
      distributed: which process this is of several.
      mesh: how all their devices divide the work.
    """

    distributed: Distributed = Distributed()
    mesh: MeshConfig = MeshConfig()

    @contextlib.contextmanager
    def joined(self, command: str) -> Iterator[Mesh]:
        """Joins the run's other processes; gives the mesh. See `parallel.hosts.joined`.

        Raises:
          SystemExit: if the devices cannot make such a mesh.
        """
        with joined(self.distributed, command):
            with user_errors(command):
                mesh = self.mesh.make()
            yield mesh
