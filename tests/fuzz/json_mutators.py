"""Damage to JSON that still looks like JSON, or nearly; and to files of one JSON text a line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.fuzz.byte_mutators import Mutator, Rng, place, random_bytes

DEPTH = 100_000
DIGITS = 10_000
NUMBERS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "1e-320", "-0.0", "0", "-1", "-8",
    "1", "9", "0.5", "1e30", "65536", "4294967296", "9223372036854775808", "9" * DIGITS,
)  # fmt: skip
TEXTS = (
    "", "text", "/etc/passwd", "../../elsewhere", "https://example.com/x", "a/b", ".", "\x00",
    "\ud800", "7", "NaN", "x" * 1_000_000,
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, False, "7", "text", [], {}, 3, 1.5, [[]], [None])
WHOLES = (b"null", b"[]", b"{}", b"3", b'""', b"true", b"NaN", b"[" * DEPTH, b'{"a":' * DEPTH)

_OPEN, _CLOSE = "\ue000", "\ue001"
_RAW = re.compile(r'"\\ue000(.*?)\\ue001"')
_SECOND = re.compile(r'"\\ue002')


def raw(text: str) -> str:
    """Stands in a tree for text that is written as it is; no quotes or backslashes."""
    return f"{_OPEN}{text}{_CLOSE}"


def nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value below the root, as the container and the key or index."""
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from nodes(tree[key])


def _dump(tree: Any, content: bytes) -> bytes:
    text = json.dumps(tree, indent=2 if b"\n  " in content else None)
    text = _SECOND.sub('"', _RAW.sub(lambda found: found[1], text))
    return (text + "\n" * content.endswith(b"\n")).encode()


def _at(fits: Callable[[Any, Any], bool], change: Callable[[Rng, Any, Any], None]) -> Mutator:
    """Changes one of the nodes that fit; the bytes stay as they are where none does."""

    def mutate(rng: Rng, content: bytes) -> bytes:
        tree = json.loads(content)
        if not isinstance(tree, dict | list):
            return content
        found = [each for each in nodes(tree) if fits(*each)]
        if not found:
            return content
        change(rng, *found[int(rng.integers(len(found)))])
        return _dump(tree, content)

    return mutate


def _value(kind: Callable[[Any], bool], change: Callable[[Rng, Any], Any]) -> Mutator:
    def put(rng: Rng, parent: Any, key: Any) -> None:
        parent[key] = change(rng, parent[key])

    return _at(lambda parent, key: kind(parent[key]), put)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _other_digit(rng: Rng, value: Any) -> str:
    text = json.dumps(value)
    places = [index for index, each in enumerate(text) if each.isdigit()]
    index = places[int(rng.integers(len(places)))]
    digit = (int(text[index]) + int(rng.integers(1, 10))) % 10
    changed = f"{text[:index]}{digit}{text[index + 1 :]}"
    return raw(re.sub(r"^(-?)0+(\d)", r"\1\2", changed))


def _choose(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _in_object(parent: Any, key: Any) -> bool:
    return isinstance(parent, dict)


def _rename(rng: Rng, parent: Any, key: Any) -> None:
    parent[_choose(rng, (f"{key}s", key.upper(), key[:-1], "", "__class__"))] = parent.pop(key)


def _repeat_key(rng: Rng, parent: Any, key: Any) -> None:
    # Characters that mark the copy are taken away when it is written.
    parent[f"\ue002{key}"] = _choose(rng, OTHERS)


def _add_key(rng: Rng, parent: Any, key: Any) -> None:
    parent[f"another_{rng.integers(100)}"] = _choose(rng, OTHERS)


def _drop(rng: Rng, parent: Any, key: Any) -> None:
    del parent[key]


def _repeat_element(rng: Rng, parent: Any, key: Any) -> None:
    parent.insert(key, parent[key])


def _bad_byte(rng: Rng, content: bytes) -> bytes:
    index = place(rng, content)
    return content[:index] + _choose(rng, (b"\xff", b"\xc3", b"\x00", b"\x80")) + content[index:]


JSON: dict[str, Mutator] = {
    "change a digit": _value(_is_number, _other_digit),
    "change a number": _value(_is_number, lambda rng, value: raw(_choose(rng, NUMBERS))),
    "negate a number": _value(_is_number, lambda rng, value: -value),
    "enlarge a number": _value(_is_number, lambda rng, value: value * 10**6),
    "change a text": _value(lambda v: isinstance(v, str), lambda rng, v: _choose(rng, TEXTS)),
    "change a type": _value(lambda value: True, lambda rng, value: _choose(rng, OTHERS)),
    "write a number as text": _value(_is_number, lambda rng, value: str(value)),
    "wrap a value": _value(lambda value: True, lambda rng, value: [value]),
    "turn a truth value": _value(lambda value: isinstance(value, bool), lambda rng, v: not v),
    "nest deeply": _value(lambda v: True, lambda rng, v: raw("[" * DEPTH + "]" * DEPTH)),
    "drop a key": _at(_in_object, _drop),
    "rename a key": _at(_in_object, _rename),
    "repeat a key": _at(_in_object, _repeat_key),
    "add a key": _at(_in_object, _add_key),
    "drop an element": _at(lambda parent, key: isinstance(parent, list), _drop),
    "repeat an element": _at(lambda parent, key: isinstance(parent, list), _repeat_element),
    "byte that is no UTF-8": _bad_byte,
    "byte order mark": lambda rng, content: b"\xef\xbb\xbf" + content,
    "UTF-16": lambda rng, content: content.decode().encode("utf-16"),
    "second text": lambda rng, content: content + content,
    "other text": lambda rng, content: _choose(rng, WHOLES),
}


def _in_a_line(mutate: Mutator) -> Mutator:
    def mutate_line(rng: Rng, content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        index = int(rng.integers(len(lines)))
        lines[index] = mutate(rng, lines[index])
        return b"".join(lines)

    return mutate_line


def _lines(change: Callable[[Rng, list[bytes], int], None]) -> Mutator:
    def mutate(rng: Rng, content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        change(rng, lines, int(rng.integers(len(lines))))
        return b"".join(lines)

    return mutate


def _swap_lines(rng: Rng, lines: list[bytes], index: int) -> None:
    lines[index], lines[-1 - index] = lines[-1 - index], lines[index]


def _tear(rng: Rng, content: bytes) -> bytes:
    return content[: content[:-1].rfind(b"\n") + 1 + int(rng.integers(1, 20))]


LINES: dict[str, Mutator] = {
    **{f"{name} in a line": _in_a_line(mutate) for name, mutate in JSON.items()},
    "repeat a line": _lines(lambda rng, lines, index: lines.insert(0, lines[index])),
    "swap lines": _lines(_swap_lines),
    "tear the last line": _tear,
    "blank line": _lines(lambda rng, lines, index: lines.insert(index, b"\n")),
    "garbage line": _lines(
        lambda rng, lines, index: lines.insert(index, random_bytes(rng, 40) + b"\n")
    ),
    "glue two lines": _lines(
        lambda rng, lines, index: lines.__setitem__(index, lines[index].rstrip(b"\n"))
    ),
    "line ends of Windows": lambda rng, content: content.replace(b"\n", b"\r\n"),
}
