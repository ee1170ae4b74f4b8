"""docker-compose.yml for real: images are built, the system is brought up, and looked at from outside and inside."""
