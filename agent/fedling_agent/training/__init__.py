"""From a frozen training set to an update, in a child process."""
