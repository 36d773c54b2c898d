"""Options of a backbone: a typed dataclass of each, made from what command lines and files hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from rfsq_jax.runs.checks import require_known

BackboneOption = bool | int | str
"""A value on a command line or in a file."""

AnyOptions = TypeVar("AnyOptions", bound="BackboneOptions")


@dataclasses.dataclass(frozen=True)
class BackboneOptions:
    """What every backbone's options answer; its own options are the fields of a subclass."""

    @classmethod
    def of(cls: type[AnyOptions], options: Mapping[str, Any]) -> AnyOptions:
        """From names and values.

        Raises:
          ValueError: for an option that does not exist, with a suggestion, or a bad value.
        """
        require_known(options, [field.name for field in dataclasses.fields(cls)], "option")
        return cls(**options)

    @property
    def wants_jpeg_files(self) -> bool:
        """Whether images must be stored JPEG files, which are decoded as in its training."""
        return False

    def require_camera_images(self) -> None:
        """Raises a ValueError if images of a simulator or a camera cannot be used."""

    def kept(self, given: Mapping[str, BackboneOption]) -> dict[str, BackboneOption]:
        """Of the options of a training, those that a policy keeps: it will see other images."""
        return dict(given)
