"""Plays made-up episodes on a Ray cluster: FOLDER ADDRESS EPISODES GATE; says how many died.

After some calls, the policy waits until there is a file GATE.
"""

import sys
import time
from pathlib import Path

from rfsq_jax.parallel.ray_cluster import RayCluster
from tests.support.evaluation import Pushes, evaluate, trials_of

CALLS = 30


class Gated(Pushes):
    """Pushes that wait at a gate."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def act(self, observations):
        while self.calls > CALLS and not self.gate.exists():
            time.sleep(0.02)
        return super().act(observations)


def main() -> None:
    folder, address, count, gate = sys.argv[1:]
    with RayCluster(address) as cluster:
        trials, policy = trials_of(2, int(count) // 2), Gated(Path(gate))
        played = evaluate(Path(folder), trials, workers=2, actor=policy, place=cluster)
    assert not played[1], played[1]
    print(f"kills: {played[2].kills}")


if __name__ == "__main__":
    main()
