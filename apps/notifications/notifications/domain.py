"""Mail about the steps of an order."""

from chassis.rules import Rules

rules = Rules()
