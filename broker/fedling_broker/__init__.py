"""The aggregator: open rounds, add up updates, publish the next model."""
