"""Imports of what stands on PyTorch, where that is installed."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator


@contextlib.contextmanager
def torchvision_beside_cpu_torch() -> Iterator[None]:
    """Lets PyPI's torchvision be imported inside, also beside a PyTorch for CPUs.

    There it lacks two operators that its import describes; they are declared until it is imported.
    Nothing happens without PyTorch.
    """
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch  # pyright: ignore[reportMissingImports]

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not torch.version.cuda and not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield
