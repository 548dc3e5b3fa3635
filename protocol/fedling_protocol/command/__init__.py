"""What the command lines of both ends share."""
