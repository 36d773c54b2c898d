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

from rfsq_jax.evaluation.analysis.summary import success_table
from rfsq_jax.evaluation.libero import LiberoEvaluation
from rfsq_jax.evaluation.results import errors_text
from rfsq_jax.evaluation.settings import LiberoOptions
from rfsq_jax.runs.options import parse, user_errors

COMMAND = "eval.libero"


def main(argv: Sequence[str] | None = None) -> int:
    """Plays what is missing, prints the table, writes results.json and report.html."""
    options = parse(LiberoOptions, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        evaluation = LiberoEvaluation.open(options)
    outcome = evaluation.run()
    for warning in outcome.figures["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if outcome.errors:
        print(f"{COMMAND}: {errors_text(options.output, outcome.errors)}", file=sys.stderr)
        print(f"report: {outcome.report}", file=sys.stderr)
        return 1
    print(success_table(outcome.figures["suites"]))
    for deviation in outcome.figures["deviations"]:
        print(f"not the official protocol: {deviation}")
    print(f"figures: {options.output / 'results.json'}")
    print(f"report: {outcome.report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
