"""What the lab holds: its accounts and sites as plans, and a site as tests see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AccountPlan:
    """An unprivileged user; `awkward`: tcsh, a greeting, an old PHP first and hardly anything else on PATH."""

    key: str
    awkward: bool = False
    password: bool = False


@dataclass(frozen=True)
class SitePlan:
    """A WordPress. `folder` is what it has below its account's home (empty: the home itself)."""

    name: str
    url: str
    title: str
    account: str
    folder: str = ""
    prefix: str = "wp_"
    apache: bool = False
    config_above: bool = False
    over_port: bool = False
    neighbour: str | None = None
    """A table of a stranger in the same database whose name `LIKE '<prefix>%'` matches (`_` is a wildcard)."""


ACCOUNTS = (
    AccountPlan("kogyo"),
    AccountPlan("futari"),
    AccountPlan("higashi", awkward=True),
    AccountPlan("minato", password=True),
)

SITES = (
    SitePlan("kogyo.example", "https://www.kogyo.example/", "工業株式会社 🏭", "kogyo"),
    SitePlan(
        "sakura.example", "https://sakura.example/", "さくら茶房 🍵", "futari",
        folder="sakura", config_above=True, over_port=True,
    ),
    SitePlan(
        "momiji.example", "https://momiji.example/", "もみじ旅館 🍁", "futari",
        folder="momiji", prefix="m1_", neighbour="m1xforum_topics",
    ),
    SitePlan("higashi.example", "https://higashi.example/", "東歯科医院 🦷", "higashi", over_port=True),
    SitePlan("minato.example", "https://www.minato.example/", "みなと水産 🐟", "minato", apache=True),
)  # fmt: skip


@dataclass(frozen=True)
class LabSite:
    """One running site: everything that a test needs to reach it or to break it."""

    name: str
    url: str
    title: str
    host: str
    """The URL's host name: what TLS and the Host header carry."""
    connect: str
    """`127.0.0.1:port` of its web server."""
    account: str
    uid: int
    home: Path
    base: Path
    """What belongs to this site alone (the home, or a folder in it): what `reset` brings back."""
    root: Path
    """The document root."""
    root_in_home: str
    """The same as `~/…`, as the configuration has it."""
    config_file: Path
    php: str
    """The PHP that works, as the configuration has it."""
    ssh_host: str
    ssh_port: int
    key: Path
    host_key: str
    """`ssh-ed25519 AAAA…`."""
    password: str | None
    """Where the account takes one; also in `password_file`, for a `password_command` of `cat`."""
    password_file: Path | None
    db_name: str
    db_user: str
    db_password: str
    db_host: str
    """DB_HOST as wp-config.php has it."""
    db_prefix: str
    db_socket: Path
    db_port: int
    apache: bool
    admin: str
    admin_password: str
    ca_file: Path
