"""May this device work now: sensors, the owner's policy, the gate."""
