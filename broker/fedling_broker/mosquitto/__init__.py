"""The MQTT broker mosquitto: what it reads, as text (pure), and how it is run."""
