"""Examples as they come in: streams, recordings, windows."""
