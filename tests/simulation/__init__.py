"""All services' real code in one process, in virtual time, under every fault we know, by seed."""
