"""A stand-in for the external card network: a process of its own, with a book of its own, that knows none of us."""
