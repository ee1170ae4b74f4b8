"""The command line. Every command is a few lines here and a module of its own."""

import asyncio
import json
import sys
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from outrigger import doctor as examination
from outrigger import faults as troubles
from outrigger import letters, zipkin
from outrigger import logs as logfiles
from outrigger import move as moving
from outrigger import rebuild as rebuilding
from outrigger import replicas as replication
from outrigger import restart as restarting
from outrigger import status as states
from outrigger import up as running
from outrigger.audit import audit as examine_ledgers
from outrigger.choice import Broker, Choice, Store
from outrigger.compose import prepare
from outrigger.control import ask
from outrigger.credentials import make_credentials
from outrigger.errors import LauncherError
from outrigger.faults import Mode
from outrigger.home import find_home
from outrigger.load import Moods, Tally, place_orders
from outrigger.plan import kinds_of, services_of
from outrigger.replicas import MOST, chosen
from outrigger.runtime import daprd
from outrigger.secretfile import make_secrets
from outrigger.servers import BROKERS, provide
from outrigger.state import current_run
from outrigger.swap import Swapped
from outrigger.template import read_template
from outrigger.tye import prepare_tye

app = typer.Typer(
    help="Runs the whole system on this machine: apps, sidecars and their broker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(letters.app, name="dead-letters")

WhichBroker = Annotated[Broker | None, typer.Option("--broker", help="Else the template's.")]
WhichStore = Annotated[Store | None, typer.Option("--store", help="Else the template's.")]
Replicas = Annotated[int, typer.Option(min=1, max=MOST, help="Of each service but the gateway.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, alone, on stdout.")]


def main() -> None:
    """Run the command line; a fault of the surroundings is one sentence on stderr and exit code 1."""
    try:
        app()
    except LauncherError as error:
        print(f"outrigger: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(141)  # the reader of our output is gone, as in `outrigger logs | head`


@app.command()
def up(
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The gateway's port (else the template's).")
    ] = None,
    broker: WhichBroker = None,
    store: WhichStore = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when ready, and leave it running.")] = False,
    parts_only: Annotated[
        bool, typer.Option("--parts-only", help="Broker, store, bank and Zipkin, for services under `dapr run`.")
    ] = False,
    replicas: Replicas = 1,
) -> None:
    """Start everything and say where to look; Ctrl-C stops it."""
    choice = Choice(broker, store)
    running.up(find_home(), choice, port=port, detach=detach, parts_only=parts_only, replicas=replicas)


@app.command()
def down() -> None:
    """Stop everything that `up` started; data stays."""
    print("Stopped." if running.down(find_home()) else "Nothing runs here. Start it with `outrigger up`.")


@app.command()
def scale(
    replicas: Annotated[int, typer.Argument(min=1, max=MOST, help="Of each service but the gateway.")],
    services: Annotated[list[str] | None, typer.Argument(help="Such as orders; else all.")] = None,
) -> None:
    """Start more replicas, or stop some in good order, while everything goes on."""
    wanted = chosen(current_run(), replicas, services or [])
    asyncio.run(replication.scale(wanted))
    print("\n".join(f"{name}: {count}" for name, count in wanted.items()))


@app.command()
def restart(
    services: Annotated[list[str] | None, typer.Argument(help="Such as orders; else all.")] = None,
    sidecars: Annotated[bool, typer.Option("--sidecars", help="Their sidecars instead.")] = False,
) -> None:
    """Start apps again in good order, one after another, as when they are deployed anew; nobody is refused."""
    each = lambda name: print(f"{name} was started again and is ready", flush=True)  # noqa: E731
    asyncio.run(restarting.restart(services or [], each, sidecars=sidecars))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show processes, ports and readiness."""
    described = asyncio.run(states.describe(current_run()))
    if as_json:
        print(json.dumps(described))
    else:
        Console().print(states.table(described))


@app.command()
def pid(process: Annotated[str, typer.Argument(help="Such as orders.app, orders.daprd or valkey.")]) -> None:
    """Print a process's id, as in `kill -9 $(outrigger pid orders.app)`."""
    print(states.pid_of(current_run(), process))


@app.command()
def logs(
    service: Annotated[
        str | None, typer.Argument(help="A service (orders) or process (orders.daprd); else all.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
) -> None:
    """Show what the processes say."""
    files = logfiles.tails(find_home(), service)
    try:
        for line in logfiles.recent(files):
            print(line)
        for line in logfiles.forever(files) if follow else ():
            print(line, flush=True)
    except KeyboardInterrupt:
        return


@app.command()
def doctor(broker: WhichBroker = None, store: WhichStore = None) -> None:
    """Look at what a run needs; exit code 1 if it would fail."""
    findings = examination.examine(find_home(), Choice(broker, store))
    for finding in findings:
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.what}: {finding.detail}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@app.command()
def order(
    *,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Until each is confirmed or cancelled.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds; what has not ended by then counts as open.")
    ] = 120.0,
    cancel_percent: Annotated[
        int, typer.Option(min=0, max=50, help="Of customers who cancel shortly after ordering.")
    ] = 0,
    reject_percent: Annotated[int, typer.Option(min=0, max=50, help="Of orders of more than is in stock.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Place orders and say how they ended."""
    moods = Moods(cancel_percent, reject_percent)
    url = current_run().gateway
    columns = TextColumn("orders"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("orders", total=count)
        advance = partial(progress.advance, bar)
        tally = asyncio.run(place_orders(url, count=count, wait=wait, within=timeout, moods=moods, each=advance))
    print(json.dumps(tally.summary()) if as_json else told(tally))


@app.command()
def swap(
    broker: Annotated[Broker, typer.Option("--broker", help="The new one.")],
    as_json: AsJson = False,
) -> None:
    """Replace the broker while orders come in; nothing is started again."""
    run = current_run()
    provide(kinds_of(find_home(), Choice(broker)) & BROKERS)
    tell = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    swapped = Swapped.model_validate_json(ask(run, {"change": "swap", "broker": broker}, tell))
    print(swapped.model_dump_json() if as_json else swapped.told())


@app.command()
def wipe_broker() -> None:
    """Kill the broker and delete its data, under load if you like: what it held comes from the journals."""
    name = ask(current_run(), {"change": "wipe-broker"}, print)
    print(
        f"{name} was killed and starts again, empty. What it held is fetched from the journals: see `outrigger logs`."
    )


@app.command()
def move_store(store: Annotated[Store, typer.Option("--store", help="Where to.")]) -> None:
    """Copy every service's ledger to the other store while nothing runs; the old one stays as it is."""
    each = lambda service, rows: print(f"{service}: {rows} rows", flush=True)  # noqa: E731
    source = asyncio.run(moving.move_store(find_home(), store, each))
    print(f"All of it is on {store}; on {source} it stays as it was. Go on with `outrigger up --store {store}`.")


@app.command()
def audit(
    within: Annotated[float, typer.Option(min=0, help="Seconds to wait until everything is quiet.")] = 60.0,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds after which no order may be open.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Check that nothing was lost, doubled or left open; exit code 1 if something was."""
    report = asyncio.run(examine_ledgers(current_run(), within=within, deadline=deadline))
    print(json.dumps(report.summary()) if as_json else report.told())
    if not report.clean:
        raise typer.Exit(1)


@app.command()
def rebuild(view: Annotated[str, typer.Argument(help="Such as products.")]) -> None:
    """Build a view anew from its service's journal, while everything goes on."""
    run = current_run()
    columns = TextColumn(view), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(view, total=None)
        show = lambda done, of: progress.update(bar, completed=done, total=of)  # noqa: E731
        done = asyncio.run(rebuilding.rebuild(run, view, show))
    print(f"{view} of {done['service']} was rebuilt from {done['records']} records in {done['seconds']} s")


@app.command()
def faults(
    part: Annotated[str, typer.Argument(help="The bank.")],
    mode: Annotated[Mode | None, typer.Option(help="What goes wrong; without it, show what does now.")] = None,
    rate: Annotated[float, typer.Option(min=0, max=1, help="The share of its calls that suffer.")] = 1.0,
    delay: Annotated[float, typer.Option(min=0.001, max=600, help="Seconds that a slow call hangs.")] = 10.0,
) -> None:
    """Make the bank slow, failing, declining or unreachable, and (`--mode none`) well again."""
    url = troubles.url_of(current_run(), part)
    wanted = {"mode": mode, "rate": rate, "delay": delay} if mode else None
    print(troubles.told(asyncio.run(troubles.change(url, wanted))))


@app.command()
def secrets() -> None:
    """Make the keys that are missing in the files behind the secret stores, and say where the bank's is."""
    home = find_home()
    make_secrets(home.secrets)
    make_credentials(home.credentials, services_of(read_template(home.template)))
    print(home.secrets)


@app.command()
def compose() -> None:
    """Write what docker-compose.yml reads: components with its addresses, passwords and tokens; and say where."""
    print(prepare(find_home()))


@app.command()
def tye() -> None:
    """Write what tye.yaml names, all resources in one folder; and say where."""
    print(prepare_tye(find_home()))


@app.command()
def runtime(broker: WhichBroker = None, store: WhichStore = None) -> None:
    """Find or build daprd and print where it is; fetch what the chosen broker and store need.

    Zipkin is fetched too, without which all works but traces.
    """
    home = find_home()
    print(daprd(home))
    provide(kinds_of(home, Choice(broker, store)))
    try:
        zipkin.fetch()
    except LauncherError as error:
        print(f"outrigger: {error}", file=sys.stderr)


def told(tally: Tally) -> str:
    """Put a tally into words."""
    summary = tally.summary()
    latency = summary["latency_ms"]
    end = f"; p50 {latency['p50']} ms, p99 {latency['p99']} ms" if latency["p50"] is not None else ""
    return f"{summary['confirmed']} confirmed, {summary['cancelled']} cancelled, {summary['open']} open{end}"


if __name__ == "__main__":
    main()
