"""The typed records that every floor speaks: configuration, observations, generations, events, outcomes.

No I/O and no policy. Everything from outside (TOML, agent, WHOIS, HTTP) becomes one of these or is refused.
All are frozen; times are aware datetimes in UTC, durations seconds, sizes bytes, absent is None.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

# ---------------------------------------------------------------- bounded words

SiteName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")]
"""Names a file in `sites.d` and a folder on the server: no separator, no leading dot."""
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}(h|d|w|mo)\Z")]
"""`12h`, `7d`, `1w`, `1mo`."""
Pause = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,3}(m|h|d))\Z")]
"""`0`, `15m`, `2h`, `1d`."""
RemoteWord = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_./=-]{1,200}\Z")]
"""What may stand in a remote command without quoting, whatever the login shell."""
RemotePath = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,1000}\Z")]
"""Travels as JSON, never on a command line."""
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,253}\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]
HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^\s/?#@\x00-\x1f]{1,253}(/[^\s\x00-\x1f]*)?\Z", max_length=2000)]
Text = Annotated[str, Meta(max_length=2000)]
CredentialLine = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,500}\Z")]
Moment = Annotated[dt.datetime, Meta(tz=True)]
"""A time whose zone is known: one without could not be compared with ours."""
GENERATION_ID = re.compile(r"^\d{8}T\d{6}Z\Z")
OPERATION_ID = re.compile(r"^\d{8}T\d{6}Z-[a-z]{2,12}-[0-9a-f]{6}\Z")


class ModoseruError(Exception):
    """A failure told to a person in one line.

    `code` is a constant word for programs, `message` what is wrong and where, `hint` what to do about it.
    `exit_code` is that of DESIGN 7: 1 failed and nothing changed, 2 usage or configuration, 3 needs a hand.
    """

    exit_code = 1

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


# ---------------------------------------------------------------- configuration (DESIGN 6)


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: a key that is not declared is an error, not silence."""


class FleetInfo(_Table, frozen=True, kw_only=True):
    name: Text = "Fleet"
    timezone: Text = "UTC"
    language: Annotated[str, Meta(pattern=r"^(ja|en)\Z")] | None = None
    read_only: bool = False


class Policy(_Table, frozen=True, kw_only=True):
    """The promise of the service. A site's own [policy] overrides the fleet's key by key."""

    server_every: Duration = "1w"
    server_keep: Annotated[int, Meta(ge=1, le=1000)] = 8
    server_min_age: Duration = "56d"
    vault_every: Duration = "1mo"
    vault_keep: Annotated[int, Meta(ge=1, le=1000)] = 12
    drill_every: Duration = "1mo"
    standby: SiteName | None = None
    """The site of the fleet on whose server generations out of the vault are rehearsed; absent, the site's own."""
    update_every: Duration = "1mo"
    update_window: Text = "Mon-Thu 10:00-16:00"
    freeze: tuple[Text, ...] = ()
    wave_share: Annotated[float, Meta(gt=0, le=1)] = 0.1
    """How much of the sites the second wave of the month's updates takes, behind the canaries."""
    wave_pause: Pause = "15m"
    """How long a wave is watched before the next one begins."""
    wave_tolerated: Annotated[int, Meta(ge=0, le=1000)] = 0
    """On how many sites one update may fail before it is halted everywhere."""
    wave_per_server: Annotated[int, Meta(ge=1, le=20)] = 1
    """Sites of one server that are updated together."""


class VaultSettings(_Table, frozen=True, kw_only=True):
    """Where generations lie off-site, and who can open them. Credentials are never here: AWS's own chain has them."""

    url: Annotated[str, Meta(pattern=r"^(s3://[a-z0-9.-]{3,63}(/[!-~]*)?|file:///[^\x00-\x1f]*)\Z")]
    endpoint: HttpUrl | None = None
    region: Text | None = None
    profile: Text | None = None
    prune_profile: Text | None = None
    """The AWS profile whose key may delete versions; absent, nothing is pruned."""
    ca_file: Text | None = None
    addressing: Annotated[str, Meta(pattern=r"^(path|virtual|auto)\Z")] = "auto"
    lock: Annotated[str, Meta(pattern=r"^(compliance|governance|none)\Z")] = "compliance"
    lock_days: Annotated[int, Meta(ge=1, le=36500)] = 400
    recipients: tuple[Text, ...] = ()
    """Public keys (age, ssh-ed25519, ssh-rsa): a generation opens with any one of their secrets."""


class DomainsSettings(_Table, frozen=True, kw_only=True):
    rdap_bootstrap: Text | None = None
    whois: dict[str, Text] = {}
    resolver: Annotated[str, Meta(pattern=r"^([0-9.]{7,15}|\[[0-9A-Fa-f:]{2,39}\]):[0-9]{1,5}\Z")] | None = None
    """`address:port` of the DNS resolver that is asked where sites are; absent, the system's."""


class WordpressSettings(_Table, frozen=True, kw_only=True):
    """Where the checksums of WordPress and of plugins are asked for: https, or http on this machine."""

    api: HttpUrl = "https://api.wordpress.org"
    downloads: HttpUrl = "https://downloads.wordpress.org"
    ca_file: Text | None = None


class UpdatesSettings(_Table, frozen=True, kw_only=True):
    """Where the known holes of plugins, themes and core are read: Wordfence's feed (its token is in
    MODOSERU_WORDFENCE_TOKEN) or a file of the same form. Absent, they are unknown."""

    feed: Text | None = None
    ca_file: Text | None = None


class IgnoredFiles(_Table, frozen=True, kw_only=True):
    """What people changed on purpose of a plugin, and why: told wherever it is seen, and no sign."""

    path: Annotated[str, Meta(pattern=r"^(?!.*(^|/)\.{0,2}(/|$))[!-~]([ -~]{0,298}[!-~])?\Z", max_length=300)]
    """Below the plugins' folder: a plugin's folder, a folder in it, or a file."""
    why: Text


class ChecksumsSettings(_Table, frozen=True, kw_only=True):
    ignore: tuple[IgnoredFiles, ...] = ()


class LifecycleSettings(_Table, frozen=True, kw_only=True):
    """Where the ends of life of PHP and databases are asked for: https, or http on this machine."""

    url: HttpUrl = "https://endoflife.date/api/v1"
    ask: bool = True
    ca_file: Text | None = None


class NotifySettings(_Table, frozen=True, kw_only=True):
    urls: tuple[Text, ...] = ()


class Person(_Table, frozen=True, kw_only=True):
    name: Text
    phone: Text | None = None
    deputy: Text | None = None


class FleetFile(_Table, frozen=True, kw_only=True):
    """`fleet.toml`: written by people, never rewritten by the program."""

    fleet: FleetInfo = FleetInfo()
    policy: Policy = Policy()
    vault: VaultSettings | None = None
    domains: DomainsSettings = DomainsSettings()
    wordpress: WordpressSettings = WordpressSettings()
    updates: UpdatesSettings = UpdatesSettings()
    checksums: ChecksumsSettings = ChecksumsSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    notify: NotifySettings = NotifySettings()
    people: tuple[Person, ...] = ()


class PhpSwitch(_Table, frozen=True, kw_only=True):
    """Argument lists run on the operator's machine, without a shell. In their words `{php}` is the path of the PHP to
    be had, `{version}` its `8.3`, `{site}` the site's name."""

    switch: tuple[Text, ...] = ()
    back: tuple[Text, ...] = ()


class RuntimeSettings(_Table, frozen=True, kw_only=True):
    """How the host is told what runs a site."""

    php: PhpSwitch = PhpSwitch()


class HostPage(_Table, frozen=True, kw_only=True):
    """`hosts.d/<host>.toml`: what an operator needs when the host itself is down."""

    panel: Text | None = None
    status_page: Text | None = None
    phone: Text | None = None
    hours: Text | None = None
    contract: Text | None = None
    panel_backups: Text | None = None
    runtime: RuntimeSettings = RuntimeSettings()


class ClientInfo(_Table, frozen=True, kw_only=True):
    name: Text | None = None
    honorific: Text = "御中"
    contact: Text | None = None
    contract_from: dt.date | None = None


class SshSettings(_Table, frozen=True, kw_only=True):
    host: Host
    port: Port = 22
    user: Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f@:]{1,64}\Z")]
    key: Text | None = None
    """A key file; absent: the SSH agent."""
    password_command: tuple[Text, ...] = ()
    """An argument list run on the operator's machine; its first line of output is the password."""
    jump: Annotated[str, Meta(pattern=r"^([^\s@:/]+@)?[A-Za-z0-9_.-]+(:[0-9]{1,5})?\Z")] | None = None
    """`[user@]host[:port]`, reached with the same key; its key is pinned by `jump_host_key`."""
    jump_host_key: Text | None = None
    host_key: Text | None = None
    """The pinned public key, `ssh-ed25519 AAAA…`; absent: not yet accepted, every connection is refused."""


class DatabaseSettings(_Table, frozen=True, kw_only=True):
    """What opens the site's database where its wp-config.php is lost: as the host's panel has it."""

    name: CredentialLine
    user: CredentialLine
    host: CredentialLine = "localhost"
    """As DB_HOST: `host`, `host:port`, `host:/socket`."""
    password_command: tuple[Text, ...]
    """An argument list run on the operator's machine; its first line of output is the password."""


class SiteRuntimeSettings(RuntimeSettings, frozen=True, kw_only=True):
    database: DatabaseSettings | None = None
    """A new, empty database, to which the site's could move."""


class ServerSettings(_Table, frozen=True, kw_only=True):
    root: RemotePath
    """The document root; `~/` is the account's home."""
    php: RemoteWord = "php"
    state: Annotated[str, Meta(pattern=r"^(~/)?[A-Za-z0-9_./-]{1,200}\Z")] = "~/.modoseru"
    files_max: Annotated[int, Meta(ge=1)] | None = None
    bytes_max: Annotated[int, Meta(ge=1)] | None = None
    cpu: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Share of one processor that long work may take."""
    attached: bool = False
    exclude: tuple[RemotePath, ...] = ()
    """Paths below the document root that are carried over, never backed up; `*` matches within one name."""
    database: DatabaseSettings | None = None


class JourneyStep(_Table, frozen=True, kw_only=True, omit_defaults=True):
    """One page of a journey: either `get` or `post`, a path below the site's URL."""

    get: Text | None = None
    post: Text | None = None
    form: Annotated[dict[str, Text], Meta(max_length=40)] = {}
    """What is filled in, by the names of the fields. Empty it travels as nothing: PHP would send a list back."""
    hidden: bool = False
    """Takes along the hidden fields (nonces) of the page before, of its form with one of the fields of `form`."""
    expect: Text | None = None
    """Stands in the visible text of what is answered."""
    status: Annotated[int, Meta(ge=100, le=599)] | None = None
    """Absent: any that is no error."""

    @property
    def path(self) -> str:
        return self.get or self.post or ""


class Journey(_Table, frozen=True, kw_only=True):
    """A visitor's path through the site, walked before an update and after each item. It must change nothing for good:
    it never ends in the last submit."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    step: Annotated[tuple[JourneyStep, ...], Meta(min_length=1, max_length=12)]


class WebSettings(_Table, frozen=True, kw_only=True):
    connect: Annotated[str, Meta(pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}\Z")] | None = None
    """`host:port` to connect to in place of what DNS says."""
    ca_file: Text | None = None
    pages: Annotated[tuple[Text, ...], Meta(max_length=12)] = ()
    """Pages that must stay as they are through an update, below the URL; absent, the site names twelve itself."""
    journey: Annotated[tuple[Journey, ...], Meta(max_length=4)] = ()


class DomainSettings(_Table, frozen=True, kw_only=True):
    expires: dt.date | None = None


class GuardSettings(_Table, frozen=True, kw_only=True):
    """What the guard on the site goes by; in force from its next `guard install` on."""

    allow: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    """Addresses and networks that it never blocks."""
    proxies: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    """Whose `X-Forwarded-For` says who asks; nobody else's does."""
    address: Annotated[int, Meta(ge=2, le=1000)] = 8
    """Failed logins within `window_s` that block an address; `account`: those that block an account."""
    account: Annotated[int, Meta(ge=2, le=10000)] = 30
    xmlrpc: Annotated[int, Meta(ge=2, le=10000)] = 60
    """Calls of xmlrpc.php a minute that block an address there."""
    window_s: Annotated[int, Meta(ge=10, le=86400)] = 900
    block_s: Annotated[int, Meta(ge=1, le=86400)] = 600
    """The first block; each further one is twice as long, up to `longest_s`."""
    longest_s: Annotated[int, Meta(ge=1, le=604800)] = 86400


class Renewal(_Table, frozen=True, kw_only=True):
    """A contract, or with `what` = `certificate` or `domain` who looks after what is seen of those."""

    what: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,100}\Z")]
    due: dt.date
    """The last day on which it holds."""
    owner: Text | None = None
    """Absent, the site's."""
    auto: bool = False
    """It renews by itself."""
    state: Annotated[str, Meta(pattern=r"^(open|ordered|paid|confirmed)\Z")] = "open"
    evidence: Text | None = None
    """What `confirmed` rests on: an invoice's number, a mail."""


class Site(_Table, frozen=True, kw_only=True):
    """`sites.d/<site>.toml`. `policy` is the fleet's policy with the site's own keys laid over it."""

    name: SiteName
    url: HttpUrl
    ssh: SshSettings
    server: ServerSettings
    owner: Text | None = None
    cover: Annotated[str, Meta(pattern=r"^(included|quote)\Z")] = "included"
    tags: tuple[Text, ...] = ()
    read_only: bool = False
    client: ClientInfo = ClientInfo()
    web: WebSettings = WebSettings()
    domain: DomainSettings = DomainSettings()
    runtime: SiteRuntimeSettings = SiteRuntimeSettings()
    guard: GuardSettings = GuardSettings()
    renewals: tuple[Renewal, ...] = ()
    checksums: ChecksumsSettings = ChecksumsSettings()
    policy: Policy = Policy()

    @property
    def account(self) -> tuple[str, int, str]:
        """Host, port and user: what one SSH connection reaches. Sites of one account fall together."""
        return self.ssh.host, self.ssh.port, self.ssh.user


class Credentials(Struct, frozen=True, kw_only=True):
    """What opens a site's database. The password shows in no representation: a traceback may print one."""

    name: str
    user: str
    password: str
    host: str = "localhost"

    def spelt_out(self) -> dict[str, str]:
        """As the agent's request carries them."""
        return {"name": self.name, "user": self.user, "password": self.password, "host": self.host}

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r}, user={self.user!r}, host={self.host!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name), ("user", self.user), ("host", self.host)]


# ---------------------------------------------------------------- observations


class State(StrEnum):
    """How urgent an observation is. `unknown` is a state of its own: it never passes for ok."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Health(Struct, frozen=True, kw_only=True):
    """One look at a site's pages from outside."""

    state: State
    http_status: int | None = None
    latency_s: float | None = None
    checked_at: dt.datetime | None = None
    problem: str | None = None
    """What is wrong, in one sentence; None where nothing is."""
    title: str | None = None
    bytes: int | None = None
    pages: tuple[PageLook, ...] = ()


class PageLook(Struct, frozen=True, kw_only=True):
    """One page as a visitor gets it."""

    url: str
    http_status: int | None = None
    latency_s: float | None = None
    bytes: int | None = None
    title: str | None = None
    problem: str | None = None
    """`unreachable: …`, `status 500`, `fatal error on the page`, `database error on the page`, `empty page` …"""


class Certificate(Struct, frozen=True, kw_only=True):
    """The certificate served for the site's name (the leaf; the chain's own first expiry stands apart)."""

    state: State
    not_after: dt.datetime | None = None
    days_left: int | None = None
    issuer: str | None = None
    not_before: dt.datetime | None = None
    names: tuple[str, ...] = ()
    chain_not_after: dt.datetime | None = None
    problem: str | None = None
    """`expired`, `wrong name`, `incomplete chain`, `self-signed`, `unreachable: …`; None where nothing is wrong."""
    checked_at: dt.datetime | None = None


class Domain(Struct, frozen=True, kw_only=True):
    """When the registration of the site's registrable domain ends, and who says so."""

    name: str
    state: State
    expires: dt.date | None = None
    days_left: int | None = None
    source: str = "unknown"
    """`rdap`, `whois`, `manual` or `unknown`."""
    problem: str | None = None
    checked_at: dt.datetime | None = None


class Update(Struct, frozen=True, kw_only=True):
    """One pending update. `security`: whether it closes a known hole; None where nobody has said."""

    kind: str
    slug: str
    from_: str | None = field(name="from", default=None)
    to: str | None = None
    security: bool | None = None
    name: str | None = None
    blocked: str | None = None
    """Why it cannot be applied on this site."""
    needs: tuple[str, ...] = ()
    """Slugs of plugins that it cannot do without."""
    held: str | None = None
    """Why it is not applied: it is blocked, or it is held (by this machine's word) until an operator lets it go."""
    closes: str | None = None
    """The known holes that it closes, the gravest by name."""


class Hole(Struct, frozen=True, kw_only=True):
    """A known hole in something that a site has, by the feed's word."""

    kind: str
    """`core`, `plugin` or `theme`."""
    slug: str
    version: str | None = None
    """The installed one."""
    title: str
    cve: str | None = None
    score: float | None = None
    """CVSS, 0 to 10."""
    rating: str | None = None
    """`low`, `medium`, `high`, `critical`: CVSS's words."""
    patched: str | None = None
    """The nearest version that is said to be without it."""
    link: str | None = None
    closed_by: str | None = None
    """The version of the update that waits, is not held, and closes it."""

    @property
    def critical(self) -> bool:
        """From 9.0 on, as CVSS has it: mostly holes that anybody can use without an account."""
        return self.score >= 9 if self.score is not None else self.rating == "critical"


class HeldItem(Struct, frozen=True, kw_only=True):
    slug: str
    why: str
    at: Moment
    who: str


class Held(Struct, frozen=True, kw_only=True):
    """What of a site's updates is held."""

    items: tuple[HeldItem, ...] = ()

    def marked(self, updates: Sequence[Update]) -> tuple[Update, ...]:
        """`updates`, each with why it is held; what a server says of that counts for nothing."""
        why = {one.slug: one.why for one in self.items}
        return tuple(replace(one, held=one.blocked or why.get(one.slug)) for one in updates)


class Drill(Struct, frozen=True, kw_only=True):
    """A rehearsal that ended: a generation was restored beside the site and WordPress started on it, or it was not."""

    generation: str
    at: Moment
    ok: bool
    seconds: float
    """From the start to the last page found: what a restore takes (the RTO)."""
    detail: str = ""
    tier: str = "server"
    on: str | None = None
    """The standby where it ran; None: beside the site itself."""
    before: tuple[float, ...] = ()
    """The seconds of the proven drills before it, the newest first."""


class Contact(Struct, frozen=True, kw_only=True):
    """Whether the site's agent answered, and if not, why."""

    at: Moment
    code: str | None = None
    """None: it answered."""
    problem: str | None = None
    hint: str = ""


class Versions(Struct, frozen=True, kw_only=True):
    wordpress: str | None = None
    php: str | None = None
    database: str | None = None
    php_eol: dt.date | None = None
    database_eol: dt.date | None = None


class BootError(Struct, frozen=True, kw_only=True):
    message: str
    file: str | None = None
    line: int | None = None


class Plugin(Struct, frozen=True, kw_only=True):
    slug: str
    name: str
    version: str | None = None
    active: bool = False
    kind: str = "plugin"


class Administrator(Struct, frozen=True, kw_only=True):
    id: int
    login: str
    registered: str | None = None


class Inspection(Struct, frozen=True, kw_only=True):
    """What the agent's `inspect` saw, in one round trip and one PHP boot. Everything in it is the server's word."""

    agent: str
    at: Moment
    php_cli: str
    php_web: str | None = None
    booted: bool = False
    boot_error: BootError | None = None
    wordpress: str | None = None
    locale: str | None = None
    title: str | None = None
    home: str | None = None
    siteurl: str | None = None
    multisite: bool = False
    root: str | None = None
    content: str | None = None
    config_file: str | None = None
    database_engine: str | None = None
    database_version: str | None = None
    database_name: str | None = None
    database_bytes: int | None = None
    database_error: str | None = None
    prefix: str | None = None
    tables: int | None = None
    plugins: tuple[Plugin, ...] = ()
    administrators: tuple[Administrator, ...] = ()
    updates: tuple[Update, ...] = ()
    updates_checked: bool = False
    """False: the update check could not run, so an empty list of updates means nothing."""
    disk_free: int | None = None
    disk_total: int | None = None
    missing: tuple[str, ...] = ()
    """What the host lacks, as sentences an operator reads."""
    operation: str | None = None
    """An operation that runs, waits for an answer, or was left behind by a dead process."""
    isolated: Moment | None = None
    """Since when the site is closed to everyone but an allow list."""
    generations: tuple[Generation, ...] = ()
    empty: bool = False
    """The document root is empty or not there: an account to which nothing was restored yet."""
    database_opens: bool | None = None
    """Of an empty account: whether the credentials that were given open a database; None without any."""
    database_refused: str | None = None


class GenerationState(StrEnum):
    COMPLETE = "complete"
    SUSPECT = "suspect"
    DAMAGED = "damaged"


class Generation(Struct, frozen=True, kw_only=True):
    """One complete backup of a site at one moment, in one tier."""

    id: str
    tier: str = "server"
    created: Moment
    bytes: int | None = None
    """What it would restore, files and dump uncompressed."""
    files: int | None = None
    tables: int | None = None
    rows: int | None = None
    state: GenerationState = GenerationState.COMPLETE
    pinned: bool = False
    sealed: bool | None = None
    """True: the summary's hash is the one kept off the server; False: it is another; None: no seal is known here."""
    verified_at: Moment | None = None
    drilled_at: Moment | None = None
    locked_until: Moment | None = None
    stored: int | None = None
    """Bytes that it added to the tier."""
    reason: str = "weekly"
    """`weekly`, `update`, `hand`, `restore`."""


class Gone(Struct, frozen=True, kw_only=True):
    """A generation whose seal is kept here and that its server no longer has."""

    id: str
    let_go: bool = False
    """True: the server says that its retention let it go, and it was old enough for that. Nobody here saw it."""


class Certainty(StrEnum):
    """The verdict's word."""

    PROVEN = "proven"
    STALE = "stale"
    UNPROVEN = "unproven"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Verdict(Struct, frozen=True, kw_only=True):
    verdict: Certainty
    reasons: tuple[str, ...] = ()
    rpo_s: int | None = None
    """Age of the newest clean generation: how far back a restore would go."""
    rto_s: int | None = None
    rto_before_s: tuple[int, ...] = ()
    """What the drills before the last one took, the newest first."""


class TriedPhp(Struct, frozen=True, kw_only=True):
    """What the last trial of a site under another PHP said. `verdict`: `safe`, `risky` or `impossible`."""

    to: str
    verdict: str
    at: Moment


class SiteStatus(Struct, frozen=True, kw_only=True):
    """A site's last known state, as `status` and `check` print it (DESIGN 7)."""

    name: str
    url: str
    verdict: Certainty
    reasons: tuple[str, ...] = ()
    rpo_s: int | None = None
    rto_s: int | None = None
    rto_before_s: tuple[int, ...] = ()
    rto_vault_s: int | None = None
    """Of the last drill of a generation that came from the vault, its way to the server included."""
    owner: str | None = None
    health: Health
    isolated: Moment | None = None
    """Since when it is closed to the world."""
    generations: tuple[Generation, ...] = ()
    certificate: Certificate
    domain: Domain
    versions: Versions = Versions()
    tried: TriedPhp | None = None
    updates: tuple[Update, ...] | None = None
    """None: unknown, because the site was not seen inside or could not ask; that is not the same as none."""
    holes: tuple[Hole, ...] | None = None
    """None: unknown, because no feed was read or the site was not seen inside."""
    holes_as_of: Moment | None = None
    """How the feed was that they were read from."""


# ---------------------------------------------------------------- operations and events


class Outcome(StrEnum):
    """Exact: after `rolled_back` and `cancelled` the site is as before; after `needs_hand` it is not."""

    DONE = "done"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    NEEDS_HAND = "needs_hand"


class Event(Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """One line of an operation's journal. `line` counts from 0 and is what `follow` resumes from."""

    at: Moment
    line: int = -1


class Started(Event, frozen=True, kw_only=True):
    operation: str
    site: str
    kind: str


class Step(Event, frozen=True, kw_only=True):
    """A step begins. `name` is a constant word of the operation."""

    name: str


class Progress(Event, frozen=True, kw_only=True):
    """How far the current step is; `unit` is `bytes`, `files`, `tables` or `rows`; `total` None: not known."""

    done: int
    total: int | None = None
    unit: str = "bytes"


class Note(Event, frozen=True, kw_only=True):
    """Something a person should know. `code` is a constant word, `text` the English sentence."""

    code: str
    text: str
    level: str = "info"
    """`info`, `warning` or `error`."""
    item: str | None = None
    """What it is about (a plugin's slug, a path), where it is about one thing."""


class Sample(Struct, frozen=True, kw_only=True):
    """How a page was before a change, fetched twice: what moves by itself lies between the least and the most."""

    path: str
    """With its query, below the site's URL; the front page: empty."""
    status: int | None = None
    problem: str | None = None
    title: str | None = None
    letters: tuple[int, int] = (0, 0)
    """Least and most of its visible text."""
    elements: tuple[int, int] = (0, 0)
    forms: int = 0
    latency_s: float = 0.0


class Expected(Struct, frozen=True, kw_only=True):
    """What a look from outside is measured by; it travels with the operation, so that any client can look."""

    title: str | None = None
    """Stands in the front page's title; None: any title will do."""
    before: str | None = None
    """What was wrong with the front page before the operation began; None: nothing."""
    seen: bool = True
    """False: the site could not be reached at all from outside before the operation began."""
    page: str | None = None
    """One more page that must be there, relative to the site's URL: `?p=12` of a post that was brought back."""
    samples: Annotated[tuple[Sample, ...], Meta(max_length=64)] = ()
    """Pages that have to be as they were, where the change is none of content."""
    journeys: Annotated[tuple[Journey, ...], Meta(max_length=4)] = ()
    """Those that came to their end before the change."""
    failing: Annotated[tuple[Text, ...], Meta(max_length=8)] = ()
    """Of the login page and the REST root those that failed before: they judge no change that is to mend nothing."""


class Asked(Event, frozen=True, kw_only=True):
    """The server asks its client to look from outside before it goes on; any client may answer."""

    number: int
    subject: str
    """`look`: fetch the site's pages and say whether they are right. `reset`: renew opcache. `closed`: see whether
    everything below the URL is refused; `item` names the probes."""
    token: str | None = None
    """Name of the one-time page that renews opcache on the web side."""
    item: str | None = None
    expect: Expected | None = None


class Answered(Event, frozen=True, kw_only=True):
    number: int
    keep: bool
    detail: str = ""


class Finished(Event, frozen=True, kw_only=True):
    outcome: Outcome
    detail: str = ""
    generation: str | None = None
    code: str | None = None
    """The error's code where it failed."""
    hint: str = ""
    summary: str | None = None
    """SHA-256 of the summary of the generation that was made: the seal."""


AnyEvent = Started | Step | Progress | Note | Asked | Answered | Finished


class StepTime(Struct, frozen=True, kw_only=True):
    name: str
    seconds: float


class Operation(Struct, frozen=True, kw_only=True):
    """A change to a site that takes time, as `operations` lists it and as an ended one is printed."""

    operation: str
    site: str
    kind: str
    outcome: Outcome | None = None
    """None: it runs, or waits for somebody to look."""
    generation: str | None = None
    seconds: float | None = None
    steps: tuple[StepTime, ...] = ()
    detail: str = ""
    started: Moment | None = None
    who: str | None = None


class Blocker(Struct, frozen=True, kw_only=True):
    """Why an operation would fail, found before anything was touched."""

    code: str
    message: str
    hint: str = ""


# ---------------------------------------------------------------- what a database holds


class TableFacts(Struct, frozen=True, kw_only=True):
    """Rows and bytes as the dictionary estimates them. A view has neither engine nor collation."""

    name: Text
    view: bool = False
    engine: Text | None = None
    collation: Text | None = None
    row_format: Text | None = None
    rows: Annotated[int, Meta(ge=0)] = 0
    bytes: Annotated[int, Meta(ge=0)] = 0


class TableFinding(Struct, frozen=True, kw_only=True):
    """Something that another database server may refuse, by kind; `items` are the first of them, `count` is all."""

    code: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}\Z")]
    count: Annotated[int, Meta(ge=1)]
    items: Annotated[tuple[Text, ...], Meta(max_length=20)] = ()


class TargetReport(Struct, frozen=True, kw_only=True):
    """The database that a site's could move to; engine and version are None where it lets nobody in."""

    name: Text
    host: Text
    engine: Annotated[str, Meta(pattern=r"^(mysql|mariadb)\Z")] | None = None
    version: Text | None = None
    blockers: Annotated[tuple[Blocker, ...], Meta(max_length=50)] = ()
    mapped: dict[str, str] = {}
    """Collations that another would take the place of."""


class DatabaseReport(Struct, frozen=True, kw_only=True):
    """The site's database by its own server's dictionary. `truncated`: not every table or column is in it."""

    engine: Annotated[str, Meta(pattern=r"^(mysql|mariadb)\Z")]
    version: Text
    sql_mode: Text = ""
    """The server's own, which a program gets that sets none."""
    collation: Text | None = None
    """What a new table of this database gets."""
    tables: Annotated[tuple[TableFacts, ...], Meta(max_length=500)] = ()
    counts: dict[str, int] = {}
    """`tables`, `rows`, `bytes` of all."""
    findings: Annotated[tuple[TableFinding, ...], Meta(max_length=50)] = ()
    truncated: bool = False
    target: TargetReport | None = None
    """Where one was asked about."""


# ---------------------------------------------------------------- what guards a site


class GuardBlock(Struct, frozen=True, kw_only=True):
    kind: Annotated[str, Meta(pattern=r"^(address|account)\Z")]
    name: Text
    until: Moment


class GuardLine(Struct, frozen=True, kw_only=True):
    """`what` was done to, or tried at; `id`, `type` and `to` where the event has them."""

    at: Moment
    event: Text
    what: Text = ""
    user: Text = ""
    address: Text = ""
    id: Text = ""
    type: Text = ""
    to: Text = ""


class GuardReport(Struct, frozen=True, kw_only=True):
    """The must-use plugin on a site and what it wrote down. `ours`: its bytes are those that Modoseru puts there; None
    where there is none. `current`: the version that an install brings."""

    installed: bool
    current: Text
    ours: bool | None = None
    version: Text | None = None
    file: Text = ""
    blocks: Annotated[tuple[GuardBlock, ...], Meta(max_length=200)] = ()
    blocks_in_force: Annotated[int, Meta(ge=0)] = 0
    counts: dict[str, int] = {}
    """`failed`, `blocked` since it was installed, `watched` now."""
    attacks: Annotated[tuple[GuardLine, ...], Meta(max_length=50)] = ()
    deeds: Annotated[tuple[GuardLine, ...], Meta(max_length=50)] = ()
    """Newest first."""


# ---------------------------------------------------------------- what differs


class ChangedFile(Struct, frozen=True, kw_only=True):
    """`path` is relative to the document root, as `restore --only` takes it; absolute where it lies elsewhere. What is
    no letter of any script stands as `\\0ooo`. `area`: `core`, `plugin`, `theme`, `uploads` or `other`."""

    path: str
    area: str


class SuspiciousFile(Struct, frozen=True, kw_only=True):
    """`signs`: the gravest first. `change`: `added`, `changed`, `removed`, `mode` where only that differs, or
    `same` where the generation has it too."""

    path: str
    signs: tuple[str, ...]
    area: str
    change: str
    modified: dt.datetime | None = None
    """As the file says itself: an intruder may have written that too."""


class ChangedFiles(Struct, frozen=True, kw_only=True):
    added: tuple[ChangedFile, ...] = ()
    changed: tuple[ChangedFile, ...] = ()
    removed: tuple[ChangedFile, ...] = ()
    suspicious: tuple[SuspiciousFile, ...] = ()


class TableRows(Struct, frozen=True, kw_only=True):
    """None: there is no such table, or (now) it cannot be read, which a warning says."""

    name: str
    rows_then: int | None
    rows_now: int | None


class ChangedPost(Struct, frozen=True, kw_only=True):
    """`change`: `added`, `changed`, `trashed` or `gone`; what it says of itself is of now, of a gone one of then."""

    id: int
    title: str
    type: str
    change: str
    modified: dt.datetime | None = None
    status: str = ""
    blog: int | None = None
    """Its site in a network; None for the first one."""


class ChangedIdentity(Struct, frozen=True, kw_only=True):
    """`name`: `siteurl`, `home` or `administrators`."""

    name: str
    then: tuple[str, ...] = ()
    now: tuple[str, ...] = ()


class JudgedPlugin(Struct, frozen=True, kw_only=True):
    """A plugin's files against those that its publisher released under the version that it calls itself."""

    slug: str
    version: str
    state: Literal["published", "altered", "unknown"]
    why: str = ""
    """Why it is unknown."""
    altered: int = 0
    added: int = 0
    """PHP files that the release does not have."""


class IgnoredHere(Struct, frozen=True, kw_only=True):
    """A rule of `[[checksums.ignore]]` that hid something."""

    path: str
    why: str
    files: int


class Difference(Struct, frozen=True, kw_only=True):
    """What differs between the live site and a generation, by the word of the site's own server.

    Lists are bounded: `truncated` names those of which not all is here, `counts` counts all of each.
    """

    site: str = ""
    generation: str
    files: ChangedFiles = ChangedFiles()
    tables: tuple[TableRows, ...] = ()
    """All of them, also those with as many rows as then."""
    posts: tuple[ChangedPost, ...] = ()
    """The newest first."""
    counts: dict[str, int] = {}
    areas: dict[str, dict[str, int]] = {}
    """Files `added`, `changed` and `removed` of each area."""
    identity: tuple[ChangedIdentity, ...] = ()
    truncated: tuple[str, ...] = ()
    warnings: tuple[Blocker, ...] = ()
    plugins: Annotated[tuple[JudgedPlugin, ...], Meta(max_length=500)] = ()
    """Each plugin against wordpress.org's checksums; nothing where nobody asked."""
    ignored: tuple[IgnoredHere, ...] = ()
    full: bool = False
    """Whether every file was read, also where its size and times are those of the generation."""


# ---------------------------------------------------------------- text from outside

_REPLACED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)


def visible(text: str, limit: int = 500) -> str:
    """`text` with control, bidirectional, zero-width and lone surrogate characters shown as `\\xNN` or `\\uNNNN`.

    The one sanitiser of remote text (FACTS 1.2): terminals obey escape sequences wherever they stand.
    Longer than `limit` characters, it is cut and ends in `…`.
    """

    def name(match: re.Match[str]) -> str:
        point = ord(match.group())
        return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"

    cut = text[: limit + 1]
    shown = _REPLACED.sub(name, cut)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def visible_tree(value: Any) -> Any:
    """`visible` applied to every string inside decoded JSON (keys too); numbers, booleans and None unchanged."""
    if isinstance(value, str):
        return visible(value, 4000)
    if isinstance(value, list):
        return [visible_tree(item) for item in value]
    if isinstance(value, dict):
        return {visible(str(key), 500): visible_tree(item) for key, item in value.items()}
    return value


def encode(record: Any) -> bytes:
    """JSON of a record or of a dictionary of records: ISO 8601 UTC times, absent = null."""
    return msgspec.json.encode(record)
