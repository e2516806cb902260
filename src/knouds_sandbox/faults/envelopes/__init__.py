"""Faults of one family, by what they are about."""

from knouds_sandbox.faults.envelopes import form, refusals

MODULES = (form, refusals)
