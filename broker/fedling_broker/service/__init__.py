"""What `fedling-broker serve` runs."""
