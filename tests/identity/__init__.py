"""Who may do what: one table (dapr/identity.yaml), what follows from it, and whether that holds."""
