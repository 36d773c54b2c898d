"""Plays made-up episodes on a Ray cluster: FOLDER ADDRESS EPISODES; says how many workers died."""

import sys
from pathlib import Path

from rfsq_jax.parallel.ray_cluster import RayCluster
from tests.support.evaluation import evaluate, trials_of


def main() -> None:
    folder, address, count = sys.argv[1:]
    with RayCluster(address) as cluster:
        trials = trials_of(2, int(count) // 2)
        _, errors, evaluation = evaluate(Path(folder), trials, workers=2, place=cluster)
    assert not errors, errors
    print(f"kills: {evaluation.kills}")


if __name__ == "__main__":
    main()
