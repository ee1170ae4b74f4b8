"""How many orders a second: the real service beside honest baselines, on the same sidecars, store and broker."""
