"""Amounts of money: integer minor units inside, a decimal with two places on the wire, float arithmetic nowhere.

One currency is assumed; a second one would be a field beside the amount, not another type of number.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

PLACES = 2
MAX_MINOR = 10**13  # 15 digits survive a JSON number that others read as a double


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount that is not negative, counted in minor units (cents)."""

    minor: int

    def __post_init__(self) -> None:
        if not 0 <= self.minor <= MAX_MINOR:
            raise ValueError(f"an amount lies between 0 and {MAX_MINOR // 10**PLACES}")

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `99.99`, `"99.99"`, `99` or another Money; more than two places are refused, not rounded."""
        if isinstance(value, cls):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise ValueError("an amount is a decimal number")  # noqa: TRY004 - pydantic turns ValueError into a problem
        if isinstance(value, int):
            return cls(value * 10**PLACES)
        return cls(_minor_of_float(value) if isinstance(value, float) else _minor(value))

    @property
    def number(self) -> float:
        """The JSON number with at most two places; the way back through `parse` is exact."""
        return self.minor / 10**PLACES  # a quotient is rounded to the nearest double, as is a decimal that is read

    def __str__(self) -> str:
        whole, cents = divmod(self.minor, 10**PLACES)
        return f"{whole}.{cents:0{PLACES}d}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + other.minor)

    def __mul__(self, times: int) -> "Money":
        return Money(self.minor * times)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda amount: amount.number),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # No multipleOf: validators divide doubles, and find that 0.07 is no multiple of 0.01.
        most = MAX_MINOR // 10**PLACES
        return {"type": "number", "minimum": 0, "maximum": most, "description": "an amount with at most two places"}


ZERO = Money(0)


@lru_cache(maxsize=1024)  # prices come again and again
def _minor_of_float(value: float) -> int:
    return _minor(value)


def _minor(value: float | str | Decimal) -> int:
    """Count the minor units of a number; a float stands for the decimal that it is written as."""
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("an amount is a decimal number") from None
    if not amount.is_finite() or abs(amount) > MAX_MINOR:
        raise ValueError("an amount is a finite number of sensible size")
    scaled = amount.scaleb(PLACES)
    if scaled != scaled.to_integral_value():
        raise ValueError("an amount has at most two decimal places")
    return int(scaled)
