"""The contract between devices and the aggregator: topics, messages, limits, exit codes."""
