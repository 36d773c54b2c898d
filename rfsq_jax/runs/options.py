"""Command lines: a frozen config dataclass in, every field of it an option."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

Config = TypeVar("Config")


def parse(
    config_class: type[Config],
    argv: Sequence[str] | None = None,
    *,
    description: str,
    default: Config | None = None,
) -> Config:
    """Returns a config from the command line; `--help` and unknown options end the program.

    Args:
      config_class: a frozen dataclass that validates itself.
      argv: the arguments, sys.argv[1:] by default.
      description: what `--help` says first.
      default: where unnamed options take their values from.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(config_class, args=arguments, description=description, **options)


def parse_with_file(
    config_class: type[Config],
    argv: Sequence[str] | None = None,
    *,
    description: str,
    part: tuple[type[Any], str] | None = None,
) -> Config:
    """As `parse`, where `--config FILE.py` names the file whose `get_config()` gives the defaults.

    Args:
      config_class: a frozen dataclass that validates itself.
      argv: the arguments, sys.argv[1:] by default.
      description: what `--help` says first.
      part: class of what the files give, and its field that holds the `config_class`, where that
        is only a part of it.

    Raises:
      SystemExit: if the file is missing or gives something else.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    path, arguments = _take_option(arguments, "--config")
    described = (
        f"{description} --config FILE.py gives the defaults; the options below override them."
    )
    if path is None:
        default = None
    elif part is None:
        default = load_config(Path(path), config_class)
    else:
        default = getattr(load_config(Path(path), part[0]), part[1])
    return parse(config_class, arguments, description=described, default=default)


def load_config(path: Path, config_class: type[Config]) -> Config:
    """Returns what `get_config()` in the Python file at `path` returns."""
    if not path.is_file():
        raise SystemExit(
            f"--config expected a Python file, got {str(path)!r}, which does not exist"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"--config expected a Python file, got {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    if not isinstance(config, config_class):
        expected = f"{config_class.__module__}.{config_class.__qualname__}"
        raise SystemExit(f"{path}: get_config() must return a {expected}, got {type(config)}")
    return config


def _take_option(arguments: list[str], name: str) -> tuple[str | None, list[str]]:
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.removeprefix(f"{name}="), arguments[:index] + arguments[index + 1 :]
        if argument == name:
            if index + 1 == len(arguments):
                raise SystemExit(f"{name} expects a file name")
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
    return None, arguments
