"""One device: train when conditions allow, send the update, answer predictions."""
