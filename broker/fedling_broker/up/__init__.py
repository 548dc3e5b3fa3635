"""A whole fleet's server from nothing: what `fedling-broker up` and `setup` stand on."""
