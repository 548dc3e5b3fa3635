"""Kills one process of a small federation at a chosen point, and looks at what became of it."""
