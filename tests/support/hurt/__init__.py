"""Errors of every class at every call that leaves our code, found by listening to Python."""
