"""The broker loses its disk: as by `outrigger wipe-broker`, and by hand where that does not know the broker."""

import shutil

from support.installation import Installation
from support.polling import eventually

HELD = {"rabbitmq": "mnesia", "kafka": "log"}  # the folder, beside the settings that its start has written
IDENTITY = ("meta.properties", "bootstrap.checkpoint")  # without which Kafka does not start


def lose_everything(system: Installation, broker: str) -> None:
    """Kill the broker and take from it all that it holds; it is started again, empty."""
    wipe = _by_hand if broker in HELD else _by_command
    eventually(lambda: wipe(system, broker), within=120, pause=0.5, what=f"{broker} runs, and is wiped")


def _by_command(system: Installation, _broker: str) -> bool:
    return system.outrigger("wipe-broker").returncode == 0


def _by_hand(system: Installation, broker: str) -> bool:
    """Move the folder away first, so that its next process finds nothing, however soon it starts."""
    process = system.state_of(broker).process()
    if process is None:
        return False
    folder = system.home.data / broker / HELD[broker]
    gone = folder.with_name(f"{folder.name}.wiped")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    folder.mkdir()
    for name in IDENTITY:
        if (gone / name).is_file():
            shutil.copy2(gone / name, folder / name)
    process.kill()
    process.wait(10)
    shutil.rmtree(gone)
    return True
