"""Faults of one family, by what they are about."""

from knouds_sandbox.faults.workflows import reading, writing

MODULES = (reading, writing)
