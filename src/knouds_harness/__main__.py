"""``python -m knouds_harness``: the command line."""

from knouds_harness.commands.cli import main

if __name__ == "__main__":
    main()
