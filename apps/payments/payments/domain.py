"""Asks the bank for an order's money, and gives back what is not used."""

from chassis.rules import Rules

rules = Rules()
