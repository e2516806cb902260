"""What a server may answer, computed from a request and what is known: the contract as pure functions."""
