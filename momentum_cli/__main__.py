"""`python -m momentum_cli` is `momentumrnn`."""

from momentum_cli.cli import main

if __name__ == "__main__":
    main()
