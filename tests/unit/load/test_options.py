"""Options of a load, on the master and on workers, which hear only what is not Locust's own."""

from __future__ import annotations

import pytest
from locust.argument_parser import default_args_dict, get_empty_argument_parser, setup_parser_arguments

from knouds_harness.load.options import add_options, read_options


def parsed(*arguments):
    """A command line, as Locust reads it with our options."""
    parser = get_empty_argument_parser(add_help=False, default_config_files=[])
    setup_parser_arguments(parser)
    add_options(parser)
    return parser.parse_args(arguments, env_vars={})


@pytest.mark.parametrize("asked", [("--rate", "200", "--users", "400"), ("--users", "30"), ("--rate", "5")])
def test_worker_reads_what_the_master_was_asked(asked):
    """Users, seed and duration in all are those of the master's command line, though a worker's has none."""
    of_master, of_worker = parsed(*asked, "--run-time", "60"), parsed("--worker")
    options = read_options(of_master)

    sent = {name: value for name, value in vars(of_master).items() if name not in default_args_dict()}
    vars(of_worker).update(sent)

    assert read_options(of_worker) == options
