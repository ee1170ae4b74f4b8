"""What shows how a service does, and helps it up: traces, circuits, operators' routes. The engine does not need it."""
