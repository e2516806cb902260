"""How to send a request, or all that led to an answer, once more: as ``curl`` and as a script."""
