"""Exchanges: the guarded HTTP client of ``check`` and ``record``, and the evidence that it keeps."""
