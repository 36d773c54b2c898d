"""Damage that knows nothing of a format: bytes in, other bytes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Mutator = Callable[[Rng, bytes], bytes]
LONGEST_BLOCK = 4096


def place(rng: Rng, content: bytes) -> int:
    """An index; often near the beginning, where headers are."""
    end = max(1, len(content))
    return int(rng.integers(min(end, 256) if rng.random() < 0.3 else end))


def block(rng: Rng, content: bytes) -> tuple[int, int]:
    """Begin and end of a block, long or short."""
    begin = place(rng, content)
    size = int(2 ** rng.uniform(0, np.log2(LONGEST_BLOCK)))
    return begin, min(len(content), begin + size)


def random_bytes(rng: Rng, count: int) -> bytes:
    """Noise."""
    return rng.integers(0, 256, count, np.uint8).tobytes()


def flip_bits(rng: Rng, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 8, 64]))):
        if changed:
            changed[place(rng, content)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def set_bytes(rng: Rng, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 4]))):
        if changed:
            changed[place(rng, content)] = int(rng.integers(256))
    return bytes(changed)


def _overwrite(make: Callable[[Rng, int], bytes]) -> Mutator:
    def mutate(rng: Rng, content: bytes) -> bytes:
        begin, end = block(rng, content)
        return content[:begin] + make(rng, end - begin) + content[end:]

    return mutate


def truncate(rng: Rng, content: bytes) -> bytes:
    return content[: place(rng, content)]


def cut_block(rng: Rng, content: bytes) -> bytes:
    begin, end = block(rng, content)
    return content[:begin] + content[end:]


def repeat_block(rng: Rng, content: bytes) -> bytes:
    begin, end = block(rng, content)
    return content[:end] + content[begin:]


def swap_blocks(rng: Rng, content: bytes) -> bytes:
    size = min(int(rng.integers(1, 65)), len(content) // 2)
    first = int(rng.integers(0, len(content) - 2 * size + 1))
    second = int(rng.integers(first + size, len(content) - size + 1))
    one, other = content[first : first + size], content[second : second + size]
    between = content[first + size : second]
    return content[:first] + other + between + one + content[second + size :]


def append_garbage(rng: Rng, content: bytes) -> bytes:
    return content + random_bytes(rng, int(rng.integers(1, 300)))


def empty(rng: Rng, content: bytes) -> bytes:
    return b""


BYTES: dict[str, Mutator] = {
    "flip bits": flip_bits,
    "set bytes": set_bytes,
    "zero a block": _overwrite(lambda rng, count: bytes(count)),
    "fill a block with ones": _overwrite(lambda rng, count: b"\xff" * count),
    "overwrite a block": _overwrite(random_bytes),
    "truncate": truncate,
    "cut a block": cut_block,
    "repeat a block": repeat_block,
    "swap blocks": swap_blocks,
    "append garbage": append_garbage,
    "empty file": empty,
}
