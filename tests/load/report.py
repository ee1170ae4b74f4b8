"""What is shown and kept of a benchmark: medians, spread, ratios, and what the time was spent on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from load.measure import Result

NAMES = {"orders": "ours"}
SHOWN = ("ours", "textbook", "tuned", "noop")


@dataclass(frozen=True, slots=True)
class Expectation:
    """Ours must be at least `least` times `other`: ratios only, as machines differ."""

    other: str
    least: float


COMPLETED = 200  # orders a second driven to their end on two cores, load generator included
EXPECTED = (Expectation("textbook", 6.0), Expectation("tuned", 1.5), Expectation("noop", 0.4))


def rate(results: Sequence[Result]) -> float:
    """Return the median of the rounds."""
    return median(result.per_second for result in results)


def save(path: Path, accepted: Mapping[str, Sequence[Result]], completed: Sequence[Result]) -> None:
    """Write the medians."""
    figures = {
        "accepted_per_s": {name: round(rate(accepted[name]), 1) for name in SHOWN if name in accepted},
        "completed_per_s": {"ours": round(rate(completed), 1)} if completed else {},
    }
    path.write_text(json.dumps(figures, indent=2) + "\n")


def show(console: Console, accepted: Mapping[str, Sequence[Result]], completed: Sequence[Result]) -> None:
    """Print the tables and whether each expectation is met."""
    console.print(_rates(accepted))
    console.print(_costs(accepted))
    if completed:
        console.print(_system_costs(completed))
        spread = f"{min(r.per_second for r in completed):.0f} to {max(r.per_second for r in completed):.0f}"
        console.print(
            f"completed by the whole system: [bold]{rate(completed):.0f}[/bold] orders/s ({spread}): from the first "
            f"request at the gateway until the last of {completed[0].orders} orders is paid and confirmed in the store"
        )
        console.print(
            f"{_word(good=rate(completed) >= COMPLETED)}  {rate(completed):.0f} completed a second; expected at least "
            f"{COMPLETED} on two cores"
        )
    for expectation in EXPECTED:
        if {"ours", expectation.other} <= accepted.keys():
            console.print(_verdict(expectation, rate(accepted["ours"]) / rate(accepted[expectation.other])))


def _verdict(expected: Expectation, ratio: float) -> str:
    word = _word(good=ratio >= expected.least)
    return f"{word}  ours is {ratio:.2f} times {expected.other}; expected at least {expected.least:g}"


def _word(*, good: bool) -> str:
    return "[green]PASS[/green]" if good else "[red]MISS[/red]"


def _rates(accepted: Mapping[str, Sequence[Result]]) -> Table:
    table = Table(title="Accepted orders a second: stored, published and answered")
    for column in ("", "orders/s", "min to max", "ours is", "p50 ms", "p99 ms", "published after", "others' cores"):
        table.add_column(column, justify="left" if not column else "right")
    for name, results in accepted.items():
        rates = [result.per_second for result in results]
        ratio = f"{rate(accepted['ours']) / rate(results):.2f} x" if "ours" in accepted else ""
        table.add_row(
            name, f"{rate(results):.0f}", f"{min(rates):.0f} to {max(rates):.0f}", ratio,
            f"{median(r.p50_ms for r in results):.1f}", f"{median(r.p99_ms for r in results):.1f}",
            f"{median(r.lag for r in results):.2f} s", f"{median(r.neighbours for r in results):.2f}",
        )  # fmt: skip
    return table


def _costs(results: Mapping[str, Sequence[Result]]) -> Table:
    """Show what limits: on a full machine the sum is the number of cores divided by the rate."""
    table = Table(title="CPU an order, in ms")
    columns = ("app", "sidecar", "broker", "clients", "others", "all")
    for column in ("", *columns):
        table.add_column(column, justify="left" if not column else "right")
    for name, each in results.items():
        costs = [_grouped(result) for result in each]
        table.add_row(name, *(f"{median(cost[column] for cost in costs) * 1000:.3f}" for column in columns))
    return table


def _system_costs(results: Sequence[Result]) -> Table:
    """Show what an order costs each process of the whole system, on its way from the gateway to its end."""
    spent = {name: median(result.cpu[name] for result in results) * 1000 for name in results[0].cpu}
    services = sorted({name.removesuffix(".app") for name in spent if name.endswith(".app")})
    table = Table(title="CPU a completed order, in ms")
    for column in ("", "app", "sidecar"):
        table.add_column(column, justify="left" if not column else "right")
    for name in services:
        table.add_row(name, *(f"{spent.pop(f'{name}.{kind}'):.2f}" for kind in ("app", "daprd")))
    for name, cost in spent.items():
        table.add_row(name, f"{cost:.2f}", "")
    table.add_row("all", f"{median(sum(result.cpu.values()) for result in results) * 1000:.2f}", "")
    return table


def _grouped(result: Result) -> dict[str, float]:
    """Sum by kind of process: the contender's own, what serves it, and everything else that ran beside it."""
    own = {f"{result.name}.app": "app", f"{result.name}.daprd": "sidecar", "valkey": "broker", "clients": "clients"}
    sums: dict[str, float] = dict.fromkeys(("app", "sidecar", "broker", "clients", "others"), 0.0)
    for process, cost in result.cpu.items():
        sums[own.get(process, "others")] += cost
    return sums | {"all": sum(result.cpu.values())}
