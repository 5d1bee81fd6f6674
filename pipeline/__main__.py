"""``python -m pipeline``: the command line without an installed script."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
