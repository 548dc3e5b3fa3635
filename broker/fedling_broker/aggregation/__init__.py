"""From updates to the next model: pure functions on arrays."""
