"""`python -m prunebench.cli`."""

from prunebench.cli import main

main()
