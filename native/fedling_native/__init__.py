"""The integer kernel in C, called with any buffer."""
