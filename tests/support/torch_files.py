"""Files like those that torch.save writes, made without torch; also such as it never writes."""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np


class Calls:
    """A pickle of it calls a function when `pickle` loads it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class Storage:
    """Stands in a pickle for numbers that lie elsewhere."""

    def __init__(self, *claims: Any) -> None:
        self.claims = claims


NUMBERS = ["Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"]
KINDS = {
    name: type(name, (), {"__module__": __name__})
    for name in (f"{number}Storage" for number in NUMBERS)
}
# Pickle looks for a class under its name in its module.
globals().update(KINDS)


def _rebuild_tensor_v2() -> None:
    """Stands for torch's function of that name."""


def tensor(kind: str, key: str, size: Any, offset: Any, shape: Any, strides: Any) -> Calls:
    """A view of a storage as torch pickles it; nothing is checked."""
    storage = Storage("storage", KINDS[kind], key, "cpu", size)
    hooks = collections.OrderedDict()
    return Calls(_rebuild_tensor_v2, storage, offset, shape, strides, False, hooks)


class _Writer(pickle.Pickler):
    """Writes storages as persistent ids."""

    def __init__(self, stream: io.BytesIO, *, legacy: bool) -> None:
        super().__init__(stream, protocol=2)
        self._more = (None,) if legacy else ()

    def persistent_id(self, obj: Any) -> Any:
        return (*obj.claims, *self._more) if isinstance(obj, Storage) else None


def pickled(value: Any, *, legacy: bool = True) -> bytes:
    """One pickle, of the protocol that torch uses, with torch's names in place of ours."""
    stream = io.BytesIO()
    _Writer(stream, legacy=legacy).dump(value)
    content = stream.getvalue().replace(
        f"c{__name__}\n_rebuild".encode(), b"ctorch._utils\n_rebuild"
    )
    return content.replace(f"c{__name__}\n".encode(), b"ctorch\n")


def legacy_file(
    state: Any, storages: Mapping[str, np.ndarray], *, system: Any = None, keys: Any = None
) -> bytes:
    """What torch wrote before 1.6; `system` and `keys` replace what belongs there."""
    system = {"protocol_version": 1001, "little_endian": True} if system is None else system
    keys = sorted(storages) if keys is None else keys
    pickles = (0x1950A86A20F9469CFC6C, 1001, system, state, keys)
    parts = [struct.pack("<q", each.size) + each.tobytes() for _, each in sorted(storages.items())]
    return b"".join([*map(pickled, pickles), *parts])


def zip_file(
    state: Any,
    storages: Mapping[str, np.ndarray],
    *,
    order: bytes = b"little",
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """What torch writes since 1.6."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(state, legacy=False))
        archive.writestr("archive/byteorder", order)
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values.tobytes())
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()
