"""The judges of the watch: one pure function for each check of domain/watch_checks.py.

They are handed what was seen, or why it could not be seen, and raise nothing.
"""
