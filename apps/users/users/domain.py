"""Who may order, and where mail reaches them."""

from chassis.rules import Rules

rules = Rules()
