"""The published language: what services say to each other, one module per owning service."""
