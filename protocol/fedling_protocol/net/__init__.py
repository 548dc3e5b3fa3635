"""One end's connection to the MQTT broker."""
