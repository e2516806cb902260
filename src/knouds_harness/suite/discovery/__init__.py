"""What a target has, and what of it can be tested: for `init` and `doctor`."""
