"""The baselines: what the orders service would be without an engine. Each is one small app beside a real sidecar."""
