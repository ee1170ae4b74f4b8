"""A sidecar in a container, of the kind that testcontainers has for Java and not for Python."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from testcontainers.core.container import DockerContainer


class DaprContainer(DockerContainer):
    """A daprd that shares this machine's network, as a sidecar its app's: both meet on the loopback address.

    It sees `root` under the same path and works in `folder`, as whoever runs the tests. A daprd that `DAPRD` names
    takes the place of the image's own.
    """

    PROGRAM = "/daprd"

    def __init__(self, image: str, flags: Sequence[str], *, root: Path, folder: Path) -> None:
        super().__init__(image)
        self.with_volume_mapping(root, str(root), "rw")
        if named := os.environ.get("DAPRD"):
            self.with_volume_mapping(named, self.PROGRAM)
        self.with_command(list(flags))
        self.with_env("DAPR_HOST_IP", "127.0.0.1")
        self.with_kwargs(
            network_mode="host", working_dir=str(folder), entrypoint=[self.PROGRAM], user=f"{os.getuid()}:{os.getgid()}"
        )

    def start(self) -> Self:
        """Start it. It is ready when its app is reached, which is for the app to say."""
        return super().start()
