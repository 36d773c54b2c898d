"""Evaluates a policy in LIBERO, by the official protocol unless an option says otherwise.

    python -m eval.libero                                    a thin slice of LIBERO-Spatial
    python -m eval.libero --policy runs/heads/small/policy --suite libero_object --trials 50
    python -m eval.libero --policy openvla-oft --checkpoint DIR --trials 50

A killed run goes on when the same command is given again. Errors are no failures: an episode that
cannot be played is tried once more, and if that fails no rate is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rfsq_jax.evaluation.libero import LiberoEvaluation
from rfsq_jax.evaluation.settings import LiberoOptions
from rfsq_jax.runs.commands import command, opened
from rfsq_jax.runs.options import parse

COMMAND = "eval.libero"


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Plays what is missing, prints the table, writes results.json and report.html."""
    options = parse(LiberoOptions, argv, command=COMMAND, description=__doc__)
    with opened(COMMAND, LiberoEvaluation.open(options)) as evaluation:
        outcome = evaluation.run()
    for warning in outcome.figures["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(outcome, file=sys.stderr if outcome.errors else sys.stdout)
    return 1 if outcome.errors else 0


if __name__ == "__main__":
    sys.exit(main())
