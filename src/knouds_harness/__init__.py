"""Test whether a server keeps the contract of the Knouds REST API, and measure how it carries load."""
