"""What Zipkin knows of a running installation."""

from collections.abc import Callable
from typing import Any

from chassis_testing.sidecars import untested
from support.customer import Customer
from support.http import Heard
from support.installation import Installation, ask
from support.polling import eventually

EDGES = {
    ("gateway", "orders"), ("orders", "inventory"), ("inventory", "orders"), ("orders", "payments"),
    ("payments", "bank"), ("orders", "notifications"), ("notifications", "mail"),
}  # fmt: skip
HOUR = 3_600_000  # ms
MAILS = 2  # created, confirmed
Ask = Callable[[str], Any]


def zipkin_of(system: Installation) -> Ask:
    """Return what asks Zipkin; its answer is None where Zipkin has none."""
    url = system.run.urls.get("zipkin", "")
    if not url:
        untested("Zipkin is missing: `make setup` fetches it")

    def asked(path: str) -> Any:
        try:
            heard = ask(url, "GET", path)
        except OSError:
            return None  # it starts behind everything else
        return heard.json if heard.status == 200 else None

    eventually(lambda: asked("/health"), within=90, what="Zipkin answers")
    return asked


def traced(customer: Customer) -> tuple[str, str]:
    """Place an order that is traced; returns its id and its trace's."""
    heard = eventually(lambda: _kept(customer), within=20, pause=0.5, what="an order's trace is kept")
    return heard.json["orderId"], heard.headers["traceresponse"].split("-")[1]


def _kept(customer: Customer) -> Heard | None:
    heard = customer.order("OAR-PAIR")
    assert heard.status == 202, heard.content
    return heard if "traceresponse" in heard.headers else None


def mailed(spans: list[dict[str, Any]]) -> int:
    """Count the mails in a trace."""
    return sum(span.get("remoteEndpoint", {}).get("serviceName") == "mail" for span in spans)


def whole(zipkin: Ask, trace: str) -> list[dict[str, Any]]:
    """Return a trace's spans when the last mail is in it and nobody's parent is missing."""

    def look() -> tuple[list[dict[str, Any]], list[str]]:
        spans = zipkin(f"/api/v2/trace/{trace}") or []
        ids = {span["id"] for span in spans}
        orphans = [span for span in spans if span.get("parentId") and span["parentId"] not in ids]
        return spans, [f"{span['localEndpoint']['serviceName']}: {span.get('name')}" for span in orphans]

    def found() -> list[dict[str, Any]] | None:
        spans, orphans = look()
        return spans if mailed(spans) >= MAILS and not orphans else None

    try:
        return eventually(found, within=60, what=f"trace {trace} is whole")
    except AssertionError as late:
        spans, orphans = look()
        told = f"{mailed(spans)} mails in {len(spans)} spans, without parents: {orphans}"
        raise AssertionError(f"{late}; {told}") from None


def edges(zipkin: Ask, now: float) -> set[tuple[str, str]]:
    """Return who called whom, as Zipkin draws it; `now` is in seconds."""
    links = zipkin(f"/api/v2/dependencies?endTs={int(now * 1000)}&lookback={HOUR}")
    return {(link["parent"], link["child"]) for link in links}
