"""Every attack is survived."""

import asyncio

import pytest
from attacks import ATTACKS


@pytest.mark.parametrize("name", ATTACKS)
async def test_survives(name: str) -> None:
    async with asyncio.timeout(30):
        await ATTACKS[name]()
