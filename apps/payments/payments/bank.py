"""The bank's words: what it is asked and how its answers are read. The key of everything is the order's id.

An operation answers how the payment stands at the bank, whatever it is; a decline is an answer too. Whoever gets none
knows nothing, and asks again under the same key.
"""

from typing import Any

from pydantic import BaseModel, ValidationError

from chassis.problems import Failed
from contracts.money import Money

APP = "bank"  # the HTTPEndpoint's name


class Standing(BaseModel):
    """How a payment stands at the bank."""

    key: str
    status: str
    reason: str | None = None

    @property
    def held(self) -> bool:
        """Tell whether the money is ours to take, or taken."""
        return self.status in {"authorized", "captured"}

    @property
    def released(self) -> bool:
        """Tell whether nothing is held, and nothing ever will be."""
        return self.status == "voided"

    @property
    def captured(self) -> bool:
        """Tell whether the money was taken."""
        return self.status == "captured"


def authorization(order_id: str, amount: Money) -> dict[str, Any]:
    """Ask to hold an amount."""
    return {"key": order_id, "amount": str(amount)}


def operation(order_id: str) -> dict[str, Any]:
    """Ask to void, or to capture."""
    return {"key": order_id}


def standing(answer: object) -> Standing:
    """Read an answer; raises `Failed` where it is none."""
    try:
        return Standing.model_validate(answer)
    except ValidationError as error:
        raise Failed(f"the bank's answer cannot be read: {error.error_count()} faults") from None
