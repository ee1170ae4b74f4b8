"""One installation for all of `make verify`; its books are audited after each test, the figures are told at the end.

Needs the network (namespace) to itself: the launcher refuses a second instance.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from simulation import report
from support.installation import Installation, running

ORDER_DEADLINE = 20.0
SETTINGS = {
    "ORDER_DEADLINE_SECONDS": str(ORDER_DEADLINE),
    "RESERVATION_DEADLINE_SECONDS": "15",
    "LEASE": "3",  # an idle service writes down how far it is every third of it, which the auditor waits for
}
TOLD = pytest.StashKey[list[str]]()
OTHERS = pytest.StashKey[float]()  # what the machine did before the first test: the load average of a minute

Tell = Callable[[str], None]


@pytest.fixture(scope="package")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Run the system; whatever happens, no process of it is left."""
    request.config.stash[OTHERS] = os.getloadavg()[0]
    with running(tmp_path_factory.mktemp("verify") / "shop", SETTINGS) as installation:
        yield installation


@pytest.fixture
def system(installed: Installation) -> Iterator[Installation]:
    """Hand over the running system; afterwards its books must be in order."""
    installed.settle()
    yield installed
    installed.settle()
    found = installed.audit(deadline=2 * ORDER_DEADLINE, within=240)
    assert found["clean"], "\n".join(found["violations"])


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Give what takes lines for the report."""
    told = request.config.stash.setdefault(TOLD, [])
    told.append(f"\n{request.node.name.removeprefix('test_').replace('_', ' ')}")
    return lambda line: told.append(f"    {line}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Print the report; with VERIFY_WRITES set and all well, write it into docs/reliability.md too."""
    told = config.stash.get(TOLD, [])
    head = f"Run of {report.today()}, {os.cpu_count()} cores, beside a load of {config.stash.get(OTHERS, 0.0):.1f}:"
    for line in (head, *told) if told else ():
        terminalreporter.write_line(line)
    if told and exitstatus == pytest.ExitCode.OK and "VERIFY_WRITES" in os.environ:
        report.write("real processes", [head, "", "```", *"\n".join(told).strip().splitlines(), "```"])
