"""What `fedling-agent run` runs."""
