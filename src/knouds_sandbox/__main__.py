"""``python -m knouds_sandbox``."""

from knouds_sandbox.command import main

if __name__ == "__main__":
    main()
