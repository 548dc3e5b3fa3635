"""What a task asks of a microcontroller, before anything runs: `fedling-sim fits`."""
