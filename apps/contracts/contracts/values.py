"""Names and small values that several services share.

Text that people type is bounded and free of control characters: a NUL would be refused by PostgreSQL for ever.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from chassis.envelope import Wire

MAX_LINES = 50

Sku = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
OrderId = Name
UserId = Name
Reason = Annotated[str, StringConstraints(max_length=500)]
Quantity = Annotated[int, Field(strict=True, ge=1, le=100)]


class Line(Wire):
    """So many of one product, in a fact; a reader allows more than one request may ask for."""

    sku: Sku
    quantity: int = Field(ge=1, le=MAX_LINES * 100)
