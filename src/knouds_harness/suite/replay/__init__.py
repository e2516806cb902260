"""Sending what a finding rests on again, to say whether it still stands."""
