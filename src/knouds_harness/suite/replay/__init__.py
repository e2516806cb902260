"""Send again what a finding rests on, to say whether it still stands."""
