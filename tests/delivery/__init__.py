"""How a change reaches a cluster: what of the system it concerns, and how one service is put there, tried, taken back.

The workflows in `.github/workflows` run these commands through `make`, so that each can be run by hand as well.
"""
