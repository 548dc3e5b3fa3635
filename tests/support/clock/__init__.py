"""Another date for one process and those that it starts: no privilege and no library needed."""
