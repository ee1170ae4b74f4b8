from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.money import MAX_MINOR, Money

amounts = st.integers(0, MAX_MINOR).map(Money)
money = TypeAdapter(Money)


@pytest.mark.parametrize(
    ("written", "minor"),
    [(99.99, 9999), ("99.99", 9999), (99, 9900), ("0", 0), (0.1, 10), (Decimal("12.5"), 1250), (1e3, 100_000)],
)
def test_reads_numbers_and_text(written: object, minor: int) -> None:
    assert Money.parse(written) == Money(minor)


@pytest.mark.parametrize(
    "written", [99.999, "1.001", -0.01, "-1", True, None, "", "ten", "nan", "inf", "1e400", 10**12, float("nan"), [1]]
)
def test_refuses_what_is_no_amount(written: object) -> None:
    with pytest.raises(ValidationError):
        money.validate_python(written)


def test_is_written_with_two_places() -> None:
    assert [str(Money(minor)) for minor in (0, 5, 990, 9999)] == ["0.00", "0.05", "9.90", "99.99"]
    assert money.dump_json(Money(9999)) == b"99.99"


@given(amounts)
def test_survives_the_wire(amount: Money) -> None:
    assert money.validate_json(money.dump_json(amount)) == amount


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 100)), max_size=50))
def test_adds_without_loss(lines: list[tuple[int, int]]) -> None:
    total = sum((Money(price) * times for price, times in lines), Money(0))
    assert total.minor == sum(price * times for price, times in lines)
