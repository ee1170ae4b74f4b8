"""Everything is killed, stopped and wiped for minutes, at moments that a seed tells, while orders come in."""
