"""Writes that survive a power cut."""
