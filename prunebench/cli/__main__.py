"""`python -m prunebench.cli`."""

from prunebench.cli import main

if __name__ == "__main__":
    main()
