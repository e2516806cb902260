"""Faults of one family, by what they are about."""

from knouds_sandbox.faults.schemas import accounts, runs, workflows

MODULES = (accounts, workflows, runs)
