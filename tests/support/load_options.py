"""Options of a load run, as a command line gives them."""

from __future__ import annotations

from argparse import ArgumentParser

from knouds_harness.load.options import LoadOptions, add_options, read_options


def options(*arguments: str) -> LoadOptions:
    """With Locust's own that ours are read with."""
    parser = ArgumentParser()
    add_options(parser)
    parser.add_argument("--users", dest="num_users", type=int)
    parser.set_defaults(run_time=None)
    return read_options(parser.parse_args(arguments))
