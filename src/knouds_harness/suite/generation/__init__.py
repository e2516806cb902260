"""Requests to send: strategies, unusual values, the values of each dimension, and random sequences."""
