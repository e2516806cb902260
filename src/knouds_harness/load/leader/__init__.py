"""The process that leads a run: it adds up, judges, records and ends what the generators send."""
