"""What the auditor excuses, and what it does not."""

import pytest

from outrigger import promises
from outrigger.ledgers import Ledger


@pytest.mark.parametrize(("open_still", "excused"), [(True, True), (False, False)])
def test_a_mail_may_be_missing_only_as_long_as_its_event_is_a_dead_letter(*, open_still: bool, excused: bool) -> None:
    created = {"eventId": "e-1", "eventType": "OrderCreated", "payload": {"orderId": "o-1"}}
    letters = [{"id": "e-1", "open": open_still}]
    buried = promises.buried([Ledger("orders"), Ledger("notifications", letters=letters)])
    missing = list(promises.mails({"order/o-1": [created]}, [], buried))
    assert missing == ([] if excused else ["order/o-1: OrderCreated asked for no mail"])
