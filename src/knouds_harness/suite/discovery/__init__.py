"""What a target has, and what can be tested on it: for `init` and `doctor`."""
