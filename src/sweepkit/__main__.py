"""``python -m sweepkit`` is the command line."""

from sweepkit.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
