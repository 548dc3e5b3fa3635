"""A TCP proxy between devices and the MQTT broker that does what links do in the field."""
