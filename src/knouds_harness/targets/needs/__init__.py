"""Needs: what a check or test requires of a target's profile, and how it is found there.

If a profile does not meet a need, the facts of the check are *untested*; nothing is ever guessed. A need
requires no more than the requests of its tests do, so that one ordinary key verifies as much as it can.
"""
