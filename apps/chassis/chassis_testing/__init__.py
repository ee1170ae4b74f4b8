"""What tests of a service need: a sidecar in memory that can fail, and a real one that is started."""
