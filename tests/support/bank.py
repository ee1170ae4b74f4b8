"""The bank behind a running installation: its trouble and its book."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from support.installation import Installation, ask


@dataclass(frozen=True, slots=True)
class Bank:
    """The stand-in for the card network, as somebody at its own desk sees it."""

    shop: Installation

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.shop.run.urls["bank"]

    def trouble(self, mode: str, *, rate: float = 1.0, delay: float = 10.0) -> None:
        """Ask for a bad day; `none` ends it."""
        body = f'{{"mode": "{mode}", "rate": {rate}, "delay": {delay}}}'
        heard = ask(self.url, "POST", "/faults", body, {"content-type": "application/json"})
        assert heard.status == 200, heard.content

    def book(self) -> dict[str, dict[str, Any]]:
        """Read all of its payments, by key."""
        found: dict[str, dict[str, Any]] = {}
        after: str | None = ""
        while after is not None:
            page = ask(self.url, "GET", f"/book?after={quote(after)}").json
            found |= {payment["key"]: payment for payment in page["payments"]}
            after = page["next"]
        return found

    def movements(self, order_id: str) -> list[str]:
        """Say what happened to the money of one order."""
        return self.book().get(order_id, {}).get("movements", [])
