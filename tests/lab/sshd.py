"""The lab's own sshd: one port, one host key, only the lab's accounts."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from tests.lab.layout import Layout, wait_until
from tests.lab.processes import Processes

CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey {keys}/host
PidFile none
AuthorizedKeysFile .ssh/authorized_keys
AllowUsers {users}
PermitRootLogin no
UsePAM no
StrictModes yes
PubkeyAuthentication yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
MaxStartups 10:30:100
AllowTcpForwarding yes
X11Forwarding no
PrintMotd no
UseDNS no
Subsystem sftp internal-sftp
"""


def start_sshd(layout: Layout, processes: Processes, port: int, users: Sequence[str]) -> None:
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    config = layout.etc / "sshd_config"
    config.write_text(CONFIG.format(port=port, keys=layout.keys, users=" ".join(users)))
    processes.start("sshd", ["/usr/sbin/sshd", "-D", "-f", str(config), "-E", str(layout.log / "sshd.log")])


def await_sshd(processes: Processes, port: int) -> None:
    def answers() -> bool:
        processes.must_live("sshd")
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as connection:
                connection.settimeout(2)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    wait_until(answers, 10, "sshd")
