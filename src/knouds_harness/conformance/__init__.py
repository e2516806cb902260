"""The conformance suite's engine: checks that judge, the probe that sends, the pytest plugin."""
