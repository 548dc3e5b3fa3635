"""What every byte on the wire means: SPEC.md as code."""
