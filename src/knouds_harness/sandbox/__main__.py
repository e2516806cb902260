"""``python -m knouds_harness.sandbox``."""

from knouds_harness.sandbox.command import main

if __name__ == "__main__":
    main()
