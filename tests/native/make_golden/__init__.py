"""Writes the golden vectors: python -m tests.native.make_golden [--check]."""
