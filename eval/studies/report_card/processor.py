"""A Hugging Face processor in FAST's style, behind the interface of our tokenizers.

Such a processor is called with normalised chunks and returns lists of ids; `decode(ids,
time_horizon=, action_dim=)` gives normalised chunks back. FAST's own answers ids that do not decode
with a chunk of zeros; here they are an error, as everywhere.

Axes: B chunks · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eval.benchmarks.torch_imports import torchvision_beside_cpu_torch
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.checks import NotInstalledError, require
from rfsq_jax.tokenizers import ActionTokenizer

MARK = "processor_config.json"
FOREIGN = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError),
    *(TypeError, ValueError),
)
"""What other people's code raises at ids or actions that it cannot take."""


def is_processor(folder: Path) -> bool:
    """Whether a folder holds a Hugging Face processor."""
    return (folder / MARK).is_file()


def load_processor(folder: Path, trust_remote_code: bool) -> Any:
    """Loads a processor from its folder.

    Raises:
      NotInstalledError: without transformers.
      ValueError: if its code is not trusted, it cannot be loaded, or it is not in FAST's style.
    """
    require(
        trust_remote_code, "trust_remote_code", f"set to run the Python code in {folder}", False
    )
    if importlib.util.find_spec("transformers") is None:
        raise NotInstalledError(f"{folder} needs transformers: install rfsq-jax[torch]")
    with torchvision_beside_cpu_torch():
        from transformers import AutoProcessor  # pyright: ignore[reportMissingImports]
    try:
        processor = AutoProcessor.from_pretrained(
            str(folder), trust_remote_code=True, local_files_only=True
        )
    except (OSError, ImportError, *FOREIGN) as error:
        raise ValueError(f"{folder} holds no processor that can be loaded: {error}") from error
    missing = [
        name for name in ("__call__", "decode", "vocab_size") if not hasattr(processor, name)
    ]
    require(not missing, f"the processor in {folder}", "in FAST's style", f"none of {missing}")
    return processor


class ProcessorTokenizer(ActionTokenizer):
    """A processor with the action space that it is used in.

    Attributes:
      folder: where it came from.
    """

    kind = "processor"

    def __init__(self, space: ActionSpace, processor: Any, folder: Path) -> None:
        """Joins them.

        Raises:
          ValueError: if the processor does not take a chunk of zeros there and back.
        """
        super().__init__(space)
        self.folder, self._processor, self._mean_tokens = folder, processor, float("nan")
        self._zero = self._ids(np.zeros((1, self.horizon, self.action_dim), np.float32))[0]
        self.decode([self._zero])

    @classmethod
    def fit_chunks(
        cls,
        space: ActionSpace,
        chunks: Float[np.ndarray, "b t a"],
        *,
        folder: Path,
        trust_remote_code: bool = False,
    ) -> ProcessorTokenizer:
        """Loads the processor; only the space and the mean length are taken from the chunks."""
        tokenizer = cls(space, load_processor(folder, trust_remote_code), folder)
        sample = chunks[:: max(1, len(chunks) // 1000)]
        tokenizer._mean_tokens = float(
            np.mean([len(ids) for ids in tokenizer.encode_chunks(sample)])
        )
        return tokenizer

    @classmethod
    def from_parts(
        cls, space: ActionSpace, config: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> ProcessorTokenizer:
        """Refuses: its files are its own.

        Raises:
          ValueError: always.
        """
        raise ValueError("a processor is loaded from its own folder, by fit_chunks")

    def config_dict(self) -> dict[str, Any]:
        """Its folder's name."""
        return {"folder": self.folder.name}

    def save_pretrained(self, path: str | Path) -> None:
        """Copies its folder."""
        shutil.copytree(self.folder, path)

    @property
    def vocab_size(self) -> int:
        """As it says itself."""
        return int(self._processor.vocab_size)

    @property
    def tokens_per_chunk(self) -> float:
        """Mean over the chunks given to `fit_chunks`."""
        return self._mean_tokens

    @property
    def prefix_lengths(self) -> tuple[int, ...]:
        """None: a prefix does not decode."""
        return ()

    def encode_chunks(self, chunks: Float[np.ndarray, "b t a"]) -> list[list[int]]:
        """Returns one list of ids per chunk.

        Raises:
          ValueError: if the processor cannot take the actions.
        """
        return self._ids(self.normalization.normalize(chunks))

    def decode(self, tokens: Any) -> Float[np.ndarray, "b t a"]:
        """Returns float32 actions in robot units of lists of ids.

        Raises:
          ValueError: on ids that the processor refuses, or answers with other than one chunk, with
            NaN or inf, or with zeros that are not what zeros encode to.
        """
        shape = (len(tokens), self.horizon, self.action_dim)
        # FAST's own prints what it cannot decode.
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                values = np.asarray(
                    self._processor.decode(tokens, time_horizon=shape[1], action_dim=shape[2]),
                    np.float32,
                )
            except FOREIGN as error:
                raise ValueError(f"{self.folder.name} cannot decode the ids: {error}") from error
        require(values.shape == shape, "decoded actions", f"of shape {shape}", values.shape)
        require(bool(np.isfinite(values).all()), "decoded actions", "finite", "NaN or inf")
        for index in np.flatnonzero(~values.any(axis=(1, 2))).tolist():
            real = list(tokens[index]) == self._zero
            require(real, f"tokens of chunk {index}", "ids that decode", tokens[index])
        return self.normalization.denormalize(values)

    def flatten(self, tokens: list[list[int]]) -> list[list[int]]:
        """Returns the same: they are flat already."""
        return tokens

    def _ids(self, values: Float[np.ndarray, "b t a"]) -> list[list[int]]:
        try:
            found = [list(map(int, ids)) for ids in self._processor(values)]
        except FOREIGN as error:
            raise ValueError(f"{self.folder.name} cannot encode the actions: {error}") from error
        name = f"{self.folder.name} cannot encode the actions: what it returns"
        require(len(found) == len(values), name, f"{len(values)} lists of ids", len(found))
        return found
