"""The command line. Thin: parses, calls, prints. Torch is imported inside commands, so that help answers at once.

Exit codes: 0 done; 1 a check failed; 2 bad input or nothing that can be compared, one line says which; 3 inconclusive
(`compare` only); 130 interrupted (the same command goes on).
"""

from prunebench.cli.commands import main
from prunebench.cli.judging import baseline, compare
from prunebench.cli.planning import plan
from prunebench.cli.plotting import plot
from prunebench.cli.scanning import scan

main.add_command(scan)
main.add_command(compare)
main.add_command(baseline)
main.add_command(plot)
main.add_command(plan)

__all__ = ["main"]
