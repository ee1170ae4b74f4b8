"""The catalogue that a new shop opens with: products as data, put on offer at start."""

import json
from importlib.resources import files

from chassis.service import Service
from contracts.inventory import AddProduct
from inventory.domain import product


def catalogue() -> tuple[AddProduct, ...]:
    """Read the products from `catalogue.json`; raises where one is malformed."""
    text = files("inventory").joinpath("catalogue.json").read_text(encoding="utf-8")
    return tuple(AddProduct.model_validate(row) for row in json.loads(text))


async def offer_catalogue(service: Service) -> None:
    """Put on offer what is not yet; at a restart, or beside another replica, nothing is added twice."""
    await service.submit_missing({product(command.sku): command for command in catalogue()})
