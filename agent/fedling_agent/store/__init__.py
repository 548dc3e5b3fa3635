"""Everything that a device keeps: facts in SQLite, large things in files."""
