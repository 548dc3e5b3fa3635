"""How a device comes into a fleet, and stays in it: asking for certificates, and believing them."""
