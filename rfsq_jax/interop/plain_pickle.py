"""Pickles of plain data, read by a machine that knows the few opcodes such data needs.

`pickle` runs whatever a file names, and even with its names restricted it can be made to allocate
gigabytes or to change objects of the program. Here a name stands only for what the caller says, and
time and memory grow no faster than the file.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Mapping
from typing import Any

PROTOCOL = 2
MAX_NAME = 256
FEW_KEYS, SMALL_KEY = 100, 2**31
"""Of more keys than a few, whole numbers must be small: Python does not scatter the hashes of
whole numbers, so that a file could choose large ones that all collide."""

Names = Mapping[str, Any]
"""What "module.name" stands for: a constant, or a function that gets the tuple of arguments."""


def load_plain(
    stream: io.BytesIO, names: Names | None = None, persistent: Callable[[Any], Any] | None = None
) -> Any:
    """Reads one pickle of protocol 2 and leaves the stream after it.

    Args:
      stream: at the start of a pickle.
      names: those that the pickle may use; by default none.
      persistent: turns a persistent id into a value.

    Returns:
      None, numbers, strings, tuples, lists and dicts, and what `names` and `persistent` return.

    Raises:
      ValueError: if the pickle is damaged, or asks for more than this.
    """
    machine = _Machine(stream, names or {}, persistent or _no_persistent_ids)
    while (code := machine.read(1)) != pickle.STOP:
        if code not in _OPCODES:
            raise ValueError(f"its pickle has an opcode {code!r}, which plain data has no use for")
        _OPCODES[code](machine)
    return machine.pop()


class _Machine:
    """The stream, the stack, its marks and the memo."""

    def __init__(self, stream: io.BytesIO, names: Names, persistent: Callable[[Any], Any]) -> None:
        self._stream = stream
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def read(self, count: int) -> bytes:
        found = self._stream.read(count)
        if len(found) != count:
            raise ValueError("its pickle is cut short")
        return found

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        self._top(object)
        return self._stack.pop()

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop_mark(self) -> list[Any]:
        if not self._below:
            raise ValueError("its pickle ends a group that has not begun")
        items, self._stack = self._stack, self._below.pop()
        return items

    def push_name(self) -> None:
        lines = [self._stream.readline(MAX_NAME).decode("ascii") for _ in range(2)]
        name = ".".join(line.removesuffix("\n") for line in lines)
        if name not in self._names:
            raise ValueError(f"its pickle asks for {name}, which it may not use")
        self.push(self._names[name])

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not callable(function) or not isinstance(arguments, tuple):
            raise ValueError("its pickle calls what is no function")
        self.push(function(arguments))

    def push_persistent(self) -> None:
        self.push(self._persistent(self.pop()))

    def remember(self, index: int) -> None:
        self._memo[index] = self._top(object)

    def recall(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError("its pickle refers to a value that is not there")
        self.push(self._memo[index])

    def join(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def extend(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def update(self, items: list[Any]) -> None:
        keys, values = items[::2], items[1::2]
        # Only these: a tuple's hash would follow it down through all that it holds.
        if len(keys) != len(values) or not all(isinstance(key, str | int) for key in keys):
            raise ValueError("its pickle has a dict whose keys are no names or numbers")
        target = self._top(dict)
        many = len(target) + len(keys) > FEW_KEYS
        if many and any(isinstance(key, int) and abs(key) >= SMALL_KEY for key in keys):
            raise ValueError("its pickle has a dict of many keys with large numbers among them")
        target.update(zip(keys, values, strict=True))

    def drop_attributes(self) -> None:
        """Attributes of a dict, such as the versions beside a state dict, are not kept."""
        self.pop()
        self._top(dict)

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise ValueError(f"its pickle needs a value of type {kind.__name__} that is not there")
        return self._stack[-1]


def _no_persistent_ids(_: Any) -> Any:
    raise ValueError("its pickle refers to data outside, where plain values are expected")


def _require_protocol(number: int) -> None:
    if number != PROTOCOL:
        raise ValueError(f"its pickle must have protocol {PROTOCOL}, got {number}")


_OPCODES: dict[bytes, Callable[[_Machine], None]] = {
    pickle.PROTO: lambda machine: _require_protocol(machine.number("<B")),
    pickle.NONE: lambda machine: machine.push(None),
    pickle.NEWTRUE: lambda machine: machine.push(True),
    pickle.NEWFALSE: lambda machine: machine.push(False),
    pickle.BININT: lambda machine: machine.push(machine.number("<i")),
    pickle.BININT1: lambda machine: machine.push(machine.number("<B")),
    pickle.BININT2: lambda machine: machine.push(machine.number("<H")),
    pickle.LONG1: lambda machine: machine.push(
        pickle.decode_long(machine.read(machine.number("<B")))
    ),
    pickle.BINFLOAT: lambda machine: machine.push(machine.number(">d")),
    pickle.BINUNICODE: lambda machine: machine.push(machine.read(machine.number("<I")).decode()),
    pickle.EMPTY_TUPLE: lambda machine: machine.push(()),
    pickle.EMPTY_LIST: lambda machine: machine.push([]),
    pickle.EMPTY_DICT: lambda machine: machine.push({}),
    pickle.MARK: _Machine.mark,
    pickle.TUPLE: lambda machine: machine.push(tuple(machine.pop_mark())),
    pickle.TUPLE1: lambda machine: machine.join(1),
    pickle.TUPLE2: lambda machine: machine.join(2),
    pickle.TUPLE3: lambda machine: machine.join(3),
    pickle.APPEND: lambda machine: machine.extend([machine.pop()]),
    pickle.APPENDS: lambda machine: machine.extend(machine.pop_mark()),
    pickle.SETITEM: lambda machine: machine.update([machine.pop(), machine.pop()][::-1]),
    pickle.SETITEMS: lambda machine: machine.update(machine.pop_mark()),
    pickle.GLOBAL: _Machine.push_name,
    pickle.REDUCE: _Machine.call,
    pickle.BUILD: _Machine.drop_attributes,
    pickle.BINPERSID: _Machine.push_persistent,
    pickle.BINPUT: lambda machine: machine.remember(machine.number("<B")),
    pickle.LONG_BINPUT: lambda machine: machine.remember(machine.number("<I")),
    pickle.BINGET: lambda machine: machine.recall(machine.number("<B")),
    pickle.LONG_BINGET: lambda machine: machine.recall(machine.number("<I")),
}
