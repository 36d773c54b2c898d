"""What an action tokenizer is: numpy in and out, robot units, whatever its kind.

A kind is one file with a subclass, and one line in `tokenizers.KINDS`. Everything above (heads,
features, policies, training) knows this class only.

Axes: B chunks · T steps of a chunk · A action dims · D latent dims · L layers.
"""

from __future__ import annotations

import abc
import hashlib
import inspect
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from rfsq_jax.data.action_range import Check, OutOfRangeWarning, apply_check
from rfsq_jax.data.action_space import ActionSpace, Normalization
from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.runs.checks import require_known
from rfsq_jax.runs.trees import flatten
from rfsq_jax.tokenizers.decoder import Decoder
from rfsq_jax.tokenizers.ids import require_prefix

AnyTokenizer = TypeVar("AnyTokenizer", bound="ActionTokenizer")


class ActionTokenizer(abc.ABC):
    """Turns action chunks into discrete tokens and back.

    Load one by name or folder with `from_pretrained`, or make one of chunks with `fit`.

    Attributes:
      kind: what `tokenizers.KINDS` knows it by.
      space: steps of a chunk, meaning of the dims, normalisation.
    """

    kind: ClassVar[str]

    def __init__(self, space: ActionSpace) -> None:
        self.space = space
        self._has_warned = False

    @classmethod
    def from_pretrained(cls: type[AnyTokenizer], path_or_name: str | Path) -> AnyTokenizer:
        """Loads a bundled tokenizer by name ("libero") or a folder that `save_pretrained` wrote.

        Raises:
          FileNotFoundError: if there is no such name or folder; it lists the names.
          ValueError: if the files are damaged, of a newer format or of another kind.
        """
        from rfsq_jax.tokenizers import files

        tokenizer = files.load_folder(path_or_name)
        if not isinstance(tokenizer, cls):
            wanted, got = getattr(cls, "kind", "any"), tokenizer.kind
            raise ValueError(
                f"{path_or_name} must hold a tokenizer of kind {wanted!r}, got {got!r}"
            )
        return tokenizer

    def save_pretrained(self, path: str | Path) -> None:
        """Writes config, weights and normalisation; the folder is whole or absent."""
        from rfsq_jax.tokenizers import files

        files.save_folder(Path(path), self)

    @classmethod
    def fit(
        cls: type[AnyTokenizer],
        actions: Any,
        *,
        kind: str | None = None,
        spec: ActionSpec | None = None,
        **options: Any,
    ) -> AnyTokenizer:
        """Returns a new tokenizer, fitted to chunks of any horizon and number of dims.

        Args:
          actions: float [B, T, A], robot units.
          kind: one of `tokenizers.kinds()`, by default "step"; a subclass knows its own.
          spec: what the dims mean; by default LIBERO's for 7 dims, dims of unknown meaning else.
          options: of that kind, see its `fit_chunks`.

        Raises:
          TypeError, ValueError: on bad actions, an unknown kind, or options that do not suit it.
        """
        from rfsq_jax.tokenizers import tokenizer_class

        chosen = tokenizer_class(kind or getattr(cls, "kind", "step"))
        if not issubclass(chosen, cls):
            raise ValueError(f"kind must be {cls.kind!r}, that of {cls.__name__}, got {kind!r}")
        known = inspect.signature(chosen.fit_chunks).parameters
        require_known(options, list(known)[2:], f"option of kind {chosen.kind!r}")
        space = ActionSpace.fit(actions, spec)
        fitted = chosen.fit_chunks(space, space.check(actions)[0], **options)
        assert isinstance(fitted, cls), "a kind's class fits its own"
        return fitted

    @classmethod
    @abc.abstractmethod
    def fit_chunks(
        cls, space: ActionSpace, chunks: Float[np.ndarray, "b t a"], *_: Any, **options: Any
    ) -> ActionTokenizer:
        """Fits one of this kind to checked chunks in robot units; `fit` calls it."""

    @classmethod
    @abc.abstractmethod
    def from_parts(
        cls, space: ActionSpace, config: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> ActionTokenizer:
        """The inverse of `config_dict` and `arrays`; `from_pretrained` calls it.

        Raises:
          ValueError: if the arrays do not fit the config.
        """

    @abc.abstractmethod
    def config_dict(self) -> dict[str, Any]:
        """What tokenizer.json keeps besides kind and space: JSON-compatible."""

    def arrays(self) -> dict[str, Any]:
        """What weights.npz keeps: nested dicts of arrays; none by default."""
        return {}

    @property
    @abc.abstractmethod
    def vocab_size(self) -> int:
        """How many different ids one token can take."""

    @property
    @abc.abstractmethod
    def tokens_per_chunk(self) -> float:
        """Tokens that one chunk takes; a mean where the length varies."""

    @property
    def bits_per_chunk(self) -> float:
        """Bits that one chunk takes when every token costs log2(vocab_size)."""
        return self.tokens_per_chunk * math.log2(self.vocab_size)

    @property
    def prefix_lengths(self) -> tuple[int, ...]:
        """How many leading ids of a flat list decode, ascending; none where the length varies."""
        return (int(self.tokens_per_chunk),)

    @property
    def prefix_bits(self) -> tuple[float, ...]:
        """Bits of each of `prefix_lengths`."""
        return tuple(length * math.log2(self.vocab_size) for length in self.prefix_lengths)

    def decode_prefix(self, tokens: Any, length: int) -> Float[np.ndarray, "*b t a"]:
        """Decodes the first `length` ids, one of `prefix_lengths`, of tokens in their own shape."""
        require_prefix(length, self.prefix_lengths)
        return self.decode(tokens)

    def each_prefix(self, tokens: Any) -> Iterator[Float[np.ndarray, "b t a"]]:
        """Yields what `decode_prefix` gives of several chunks for each of `prefix_lengths`."""
        return (self.decode_prefix(tokens, length) for length in self.prefix_lengths)

    def encode(self, actions: Any, check: Check = "warn") -> Any:
        """Returns the tokens, in the kind's own shape, of actions float [B, T, A] or [T, A].

        Args:
          actions: in robot units.
          check: of actions outside of the range that was fitted, which may decode to others:
            "warn" says so once per tokenizer, "raise" refuses them, "clip" moves them to its ends
            first. Tokenizers of old files do not know it: "warn" says nothing then.

        Raises:
          TypeError, ValueError: see `data.action_space.check_chunks`, `action_range.apply_check`.
        """
        chunks, single = self._checked(actions, check)
        tokens = self.encode_chunks(chunks)
        return tokens[0] if single else tokens

    def __call__(self, actions: Any, check: Check = "warn") -> list[list[int]]:
        """Returns one flat list of ids per chunk, coarse first; takes and raises as `encode`."""
        return self.flatten(self.encode_chunks(self._checked(actions, check)[0]))

    @abc.abstractmethod
    def encode_chunks(self, chunks: Float[np.ndarray, "b t a"]) -> Any:
        """Returns the tokens of checked chunks in robot units."""

    @abc.abstractmethod
    def decode(self, tokens: Any) -> Float[np.ndarray, "*b t a"]:
        """Returns float32 actions in robot units; takes what `encode` or a call returned."""

    @abc.abstractmethod
    def flatten(self, tokens: Any) -> list[list[int]]:
        """Returns what `encode_chunks` gave as one flat list of ids per chunk, coarse first."""

    @property
    def code_axes(self) -> tuple[int, int, int]:
        """T, D, L of codes [B, T, D, L], for heads that predict all of a chunk's codes at once.

        Raises:
          ValueError: for a kind without such codes.
        """
        raise ValueError(f"tokenizer must give codes [T, D, L] to heads, got kind {self.kind!r}")

    @property
    def decoder(self) -> Decoder:
        """What turns codes into normalised actions inside of a jitted function.

        Raises:
          ValueError: for a kind without codes [T, D, L].
        """
        raise ValueError(f"tokenizer must decode codes [T, D, L], got kind {self.kind!r}")

    @property
    def horizon(self) -> int:
        """Steps T of a chunk."""
        return self.space.horizon

    @property
    def action_dim(self) -> int:
        """Dims A of an action."""
        return self.space.action_dim

    @property
    def normalization(self) -> Normalization:
        """Robot units <-> normalised."""
        return self.space.normalization

    @property
    def version(self) -> str:
        """16 hex digits over kind, config, weights and space, all that decides its codes."""
        space = self.space.identity()
        described = {"kind": self.kind, "config": self.config_dict(), "space": space}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for path, leaf in sorted(flatten(jax.device_get(self.arrays())).items()):
            digest.update(path.encode() + np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()[:16]

    def _checked(self, actions: Any, check: Check) -> tuple[Float[np.ndarray, "b t a"], bool]:
        chunks, single = self.space.check(actions)
        chunks, found = apply_check(chunks, self.space.range, self.space.spec.names, check)
        if found is not None and not self._has_warned:
            self._has_warned = True
            warnings.warn(found, OutOfRangeWarning, stacklevel=3)
        return chunks, single
