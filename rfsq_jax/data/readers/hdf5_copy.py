"""Copies of HDF5 groups, made without the library's own copy, which damaged files crash.

Compressed arrays are copied chunk by chunk as they are stored.
"""

from __future__ import annotations

import h5py

from rfsq_jax.data.readers.hdf5_files import MAX_STEPS, StoredGroup


def copy_group(source: StoredGroup, target: h5py.Group, *, depth: int = 1) -> None:
    """Copies attributes, arrays and inner groups.

    Args:
      source: the group.
      target: an empty group of another file.
      depth: how many levels of groups `source` may have below it.

    Raises:
      ValueError: if something in it is damaged, elsewhere, or deeper.
    """
    target.attrs.update(source.attributes())
    for name in source.names():
        if not source.is_group(name):
            _copy_array(source, name, target)
        elif depth:
            copy_group(source.group(name), target.create_group(name), depth=depth - 1)
        else:
            raise ValueError(f"{source.path}: {source.name}/{name} must be an array, got a group")


def _copy_array(source: StoredGroup, name: str, target: h5py.Group) -> None:
    dataset = source.plain_dataset(name)
    with source.reading(name):
        dtype, chunks = dataset.dtype, dataset.chunks
        if dtype.kind not in "biuf":
            raise ValueError(f"it is of type {dtype}")
        if chunks is None:
            target.create_dataset(name, data=dataset[()])
            return
        filters = ("compression", "shuffle", "fletcher32")
        settings = {name: getattr(dataset, name) for name in filters}
        copy = target.create_dataset(name, dataset.shape, dtype, chunks=chunks, **settings)
        count = dataset.id.get_num_chunks()
        if count > MAX_STEPS:
            raise ValueError(f"it has {count} chunks, at most {MAX_STEPS} are copied")
        for index in range(count):
            chunk = dataset.id.get_chunk_info(index)
            if chunk.size > source.file_size:
                raise ValueError(f"chunk {index} declares {chunk.size} bytes")
            mask, content = dataset.id.read_direct_chunk(chunk.chunk_offset)
            copy.id.write_direct_chunk(chunk.chunk_offset, content, mask)
