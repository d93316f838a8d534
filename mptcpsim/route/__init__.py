"""Routes of a scenario, followed by probes through the network that is built from it."""
