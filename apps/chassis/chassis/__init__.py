"""What every service stands on; the only code that talks to daprd."""
