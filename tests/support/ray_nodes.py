"""A Ray cluster of two machines, which are processes here; says its address, does as it is told.

Lines that come in: `lose` ends the second machine at once, anything else ends the cluster.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

from ray.cluster_utils import Cluster


def children_of(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def main() -> None:
    quiet = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 1024**2}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    second = cluster.add_node(num_cpus=1, object_store_memory=80 * 1024**2)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() != "lose":
            break
        children = children_of(second.all_processes["raylet"][0].process.pid)
        cluster.remove_node(second, allow_graceful=False)
        # With a machine, all of its processes are gone; these would live on for a while.
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        print("lost", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
