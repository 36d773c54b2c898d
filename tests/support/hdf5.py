"""HDF5 files of ours as they were before their demonstrations had hashes."""

from pathlib import Path
from typing import Any

import h5py

from rfsq_jax.data.readers.hdf5_hash import FORMAT, HASH


def as_first_format(path: Path) -> None:
    """Takes the hashes away, so that what else is checked can be seen."""
    with h5py.File(path, "r+") as file:
        data: Any = file["data"]
        del data.attrs[FORMAT]
        for name in data:
            del data[name].attrs[HASH]
