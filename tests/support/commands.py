"""Commands whose user got something wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest


def refusal(
    main: Callable[[Sequence[str]], object],
    options: Sequence[str],
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Runs a command that must end with code 2; returns the one line that it prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line
