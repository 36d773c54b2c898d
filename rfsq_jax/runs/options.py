"""Command lines: a frozen config dataclass in, every field of it an option."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from rfsq_jax.runs.checks import require
from rfsq_jax.runs.commands import user_errors
from rfsq_jax.runs.machines import Machines

Config = TypeVar("Config")


def parse(
    config_class: type[Config],
    argv: Sequence[str] | None = None,
    *,
    command: str,
    description: str | None,
    default: Config | None = None,
) -> Config:
    """Returns a config from the command line; `--help` and options that it refuses end the program.

    Args:
      config_class: a frozen dataclass that validates itself.
      argv: the arguments, sys.argv[1:] by default.
      command: its name, such as eval.libero.
      description: its docstring, whose first paragraph `--help` starts with.
      default: where unnamed options take their values from.

    Raises:
      SystemExit: with code 2 for a bad option, after it is printed what is wrong; 0 for `--help`.
    """
    options: dict[str, Any] = {
        "args": list(sys.argv[1:] if argv is None else argv),
        "prog": f"python -m {command}",
        "description": (description or "").split("\n\n")[0],
    }
    if default is not None:
        options["default"] = default
    # A config's own errors stand in a box of several lines, which is not shown.
    printed = io.StringIO()
    try:
        # Inside of another one, a config's own error comes as it is.
        with contextlib.redirect_stderr(printed), user_errors(command):
            return tyro.cli(config_class, **options)
    except SystemExit as refusal:
        with user_errors(command):
            _raise_own_error(refusal)
        print(printed.getvalue(), end="", file=sys.stderr)
        raise


def parse_with_file(
    config_class: type[Config] | tuple[type[Config], ...],
    argv: Sequence[str] | None = None,
    *,
    command: str,
    description: str | None,
    part: tuple[type[Any], str] | None = None,
) -> Config:
    """As `parse`, where `--config FILE.py` names the file whose `get_config()` gives the defaults.

    Args:
      config_class: a frozen dataclass that validates itself; or several, of which the file chooses
        one, and the first is used without a file.
      argv: the arguments, sys.argv[1:] by default.
      command: its name, such as train.heads.
      description: its docstring, whose first paragraph `--help` starts with.
      part: class of what the files give, and its field that holds the `config_class`, where that
        is only a part of it.

    Raises:
      SystemExit: as `parse`; with code 2 also if the file is missing or gives something else.
    """
    chosen, options = _with_file(config_class, argv, command, description, part)
    return parse(chosen, command=command, **options)


def parse_training(
    config_class: type[Config] | tuple[type[Config], ...],
    argv: Sequence[str] | None = None,
    *,
    command: str,
    description: str | None,
    part: tuple[type[Any], str] | None = None,
) -> tuple[Config, Machines]:
    """As `parse_with_file`, with the options of `Machines` beside those of the config."""
    chosen, options = _with_file(config_class, argv, command, description, part)
    whole = dataclasses.make_dataclass(
        "Options",
        [
            ("run", Annotated[chosen, tyro.conf.arg(name="")]),
            ("machines", Annotated[Machines, tyro.conf.arg(name="")]),
        ],
    )
    if options["default"] is not None:
        options["default"] = whole(options["default"], Machines())
    parsed = parse(whole, command=command, **options)
    return parsed.run, parsed.machines


def _with_file(
    config_class: type[Config] | tuple[type[Config], ...],
    argv: Sequence[str] | None,
    command: str,
    description: str | None,
    part: tuple[type[Any], str] | None,
) -> tuple[type[Config], dict[str, Any]]:
    """The class that the file of `--config` chose, and the other arguments of `parse`."""
    with user_errors(command):
        path, arguments = _take_option(list(sys.argv[1:] if argv is None else argv), "--config")
        if path is None:
            default = None
        elif part is None:
            default = load_config(Path(path), config_class)
        else:
            default = getattr(load_config(Path(path), part[0]), part[1])
    first = (description or "").split("\n\n")[0]
    described = f"{first} --config FILE.py gives the defaults; the options below override them."
    if isinstance(config_class, tuple):
        config_class = config_class[0] if default is None else type(default)
    return config_class, {"argv": arguments, "description": described, "default": default}


def load_config(path: Path, config_class: type[Config] | tuple[type[Config], ...]) -> Config:
    """Returns what `get_config()` in the Python file at `path` returns.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no Python file, or returns something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--config must be a Python file, got {path}, which does not exist")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"--config must be a Python file, got {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    known = config_class if isinstance(config_class, tuple) else (config_class,)
    expected = " or ".join(f"a {each.__module__}.{each.__qualname__}" for each in known)
    require(isinstance(config, config_class), f"get_config() in {path}", expected, config)
    return config


def _raise_own_error(refusal: SystemExit) -> None:
    """Raises what a config's own check raised, if that is why tyro ends the program."""
    error = refusal.__context__
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, ValueError) and any(f.name == "__post_init__" for f in frames):
            raise error
        error = error.__context__


def _take_option(arguments: list[str], name: str) -> tuple[str | None, list[str]]:
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.removeprefix(f"{name}="), arguments[:index] + arguments[index + 1 :]
        if argument == name:
            require(index + 1 < len(arguments), name, "followed by a file name", None)
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
    return None, arguments
