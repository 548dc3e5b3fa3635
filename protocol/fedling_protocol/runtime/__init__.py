"""What a long-running process of either end stands on."""
