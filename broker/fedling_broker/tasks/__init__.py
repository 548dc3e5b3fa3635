"""Task files."""
