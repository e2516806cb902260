"""Load: users, a client and statistics for Locust, importable by any locustfile.

Importing ``locust`` patches the process for gevent. So only this package imports it, and the command line
runs load in a process of its own.
"""
