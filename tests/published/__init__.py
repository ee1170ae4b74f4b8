"""What the project publishes for others' tools, made from the code: `make contracts` writes it, tests compare it."""
