"""What a check needs from a target's profile, in capabilities and resources, and how it is found there.

A need that a profile does not meet makes the check's facts *untested*; nothing is ever guessed. No need asks
for more than the requests of its tests do, so that one ordinary key shows all that it can.
"""
