"""The aggregator's facts on disk."""
