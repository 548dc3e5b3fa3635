"""A federation over TLS under power cuts and `kill -9`, and a witness who listens to the wire."""
