"""Whether consumers have settled what producers had told up to a moment: their cursors say so, under load too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chassis.reconciliation import cursor
from chassis.sidecar import SidecarError
from outrigger.ledgers import Store


@dataclass(frozen=True, slots=True)
class Told:
    """A journal at one moment: its id, and the number of the last record by lane."""

    journal: str
    tails: Mapping[int, int]


async def told(stores: Sequence[Store]) -> dict[str, Told]:
    """Note how long everybody's journal is. Raises `LauncherError`."""
    ledgers = [ledger for store in stores if (ledger := await store.heads()) and ledger.heads]
    return {each.service: Told(next(iter(each.heads.values()))["journal_id"], each.tails) for each in ledgers}


async def has_settled(store: Store, journals: Mapping[str, Told]) -> bool:
    """Tell whether a consumer has settled all of these journals; one that does not answer has not."""
    names = {cursor.name(producer, journal.journal): journal for producer, journal in journals.items()}
    try:
        found = await store.sidecar.read(list(names))
    except SidecarError:
        return False
    return all(
        cursor.settled(stored.value, kind, lane, tail)
        for name, stored in found.items()
        for kind in stored.value["types"]
        for lane, tail in names[name].tails.items()
    )
