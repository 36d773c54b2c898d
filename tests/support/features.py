"""Small feature runs on stored pictures."""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.tokenizers.step import ActionTokenizer
from tests.support.fakes import Patches, write_demonstrations
from train.features import make_features, open_run

LENGTHS = (21, 30, 9, 14, 25, 12)


def demonstrations(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write_demonstrations(folder / "put_it_here_demo.hdf5", LENGTHS, seed=0)
    write_demonstrations(folder / "put_it_there_demo.hdf5", LENGTHS[::-1], seed=1)
    return folder


def run_of(folder: Path, **changes) -> FeaturesRun:
    options = {
        "images": (demonstrations(folder / "demos"),),
        "episodes": None,
        "stride": 3,
        "held_out": 0.3,
        "batch_size": 4,
        "episodes_per_shard": 2,
        "output": folder / "features",
    }
    return FeaturesRun(**{**options, **changes})


def make(run: FeaturesRun, backbone=None) -> FeatureStore:
    parts = run, backbone or Patches(), ActionTokenizer.from_pretrained("libero")
    make_features(*parts, open_run(*parts))
    return FeatureStore.open(run.output)
