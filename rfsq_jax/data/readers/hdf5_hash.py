"""A hash over what a demonstration of ours holds.

It covers the attributes, all arrays but the images, and what the file says of the task. Images have
HDF5's own checksums, chunk by chunk, so that a few frames can be read without the others.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from rfsq_jax.data.readers.hdf5_files import StoredGroup
from rfsq_jax.runs.checks import DamagedError

HASH = "sha256"
FORMAT, SIGNED_SINCE = "format_version", 2
"""Attribute of the group "data", and the first format whose demonstrations have a hash."""
TASK = ("suite", "task_index", "task_name", "instruction", FORMAT)


def content_hash(data: StoredGroup, group: StoredGroup) -> str:
    """SHA-256 of a demonstration.

    Raises:
      ValueError: if something in it is damaged, or elsewhere.
    """
    digest = hashlib.sha256()
    for name in TASK:
        if data.has_attribute(name):
            _add(digest, name, data.attributes()[name])
    _add_group(digest, group)
    return digest.hexdigest()


def require_hash(data: StoredGroup, group: StoredGroup) -> None:
    """Raises a DamagedError unless a demonstration is as it was written.

    Files of others and of our first format have no hash.
    """
    signed = data.has_attribute(FORMAT) and data.number(FORMAT) >= SIGNED_SINCE
    if not signed and not group.has_attribute(HASH):
        return
    expected = group.text(HASH) if group.has_attribute(HASH) else "none"
    if content_hash(data, group) != expected:
        raise DamagedError(f"{group.path}: {group.name} is damaged: it has another {HASH}")


def _add_group(digest: Any, group: StoredGroup, depth: int = 1) -> None:
    for name, value in sorted(group.attributes().items()):
        if name != HASH:
            _add(digest, name, value)
    for name in sorted(group.names()):
        if group.is_group(name):
            # A group may hold itself.
            if not depth:
                raise DamagedError(f"{group.path}: {group.name}/{name} must be an array")
            digest.update(f"{name}/".encode())
            _add_group(digest, group.group(name), depth - 1)
            continue
        dataset = group.plain_dataset(name)
        with group.reading(name):
            # With checksums, what is read is what was written.
            value = np.empty(0) if dataset.fletcher32 else dataset[()]
            digest.update(f"{name} {dataset.dtype} {dataset.shape}".encode())
        _add(digest, name, value)


def _add(digest: Any, name: str, value: Any) -> None:
    array = np.asarray(value)
    content = value.encode() if isinstance(value, str) else np.ascontiguousarray(array).tobytes()
    kind = "text" if isinstance(value, str) else f"{array.dtype} {array.shape}"
    digest.update(f"{name} {kind} {len(content)} ".encode() + content)
