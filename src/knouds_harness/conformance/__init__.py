"""The conformance suite's engine: checks that judge, the tester that sends, the pytest plugin."""
