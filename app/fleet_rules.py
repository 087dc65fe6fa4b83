"""Values that fit leaf by leaf and make no sense: windows, periods, keys, ports, roots, sites that collide.

Pure functions of records that were read already; what a record declares by itself is in fleet_validation.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from app import waves
from app.fleet_vault import vault_problems
from backends.records import (
    FleetFile,
    GuardSettings,
    Journey,
    Policy,
    RuntimeSettings,
    Site,
    SshSettings,
    UpdatesSettings,
    visible,
)

_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-")


def fleet_problems(settings: FleetFile) -> Iterator[str]:
    """What makes no sense in `fleet.toml`: one line each, without the file."""
    zone = settings.fleet.timezone
    if zone != "UTC":
        try:
            zoneinfo.ZoneInfo(zone)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            yield f'fleet.timezone: "{visible(zone, 60)}" is not a time zone; a name such as Asia/Tokyo is expected'
    yield from _policy_problems(settings.policy)
    public = {
        "wordpress.api": settings.wordpress.api,
        "wordpress.downloads": settings.wordpress.downloads,
        "lifecycle.url": settings.lifecycle.url,
    }
    for key, url in public.items():
        if not url.startswith("https://") and urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"):
            shown = visible(url, 80)
            yield f'{key}: "{shown}" is not https; what anybody may change on its way proves nothing'
    yield from _feed_problems(settings.updates)
    yield from _resolver_problems(settings.domains.resolver)
    if settings.vault is not None:
        yield from vault_problems(settings.vault)


def _feed_problems(updates: UpdatesSettings) -> Iterator[str]:
    """Who may change it on its way hides holes."""
    feed = updates.feed
    if feed is None:
        if updates.ca_file is not None:
            yield "updates.ca_file: is of no use without updates.feed"
        return
    shown = visible(feed, 80)
    if feed.startswith(("/", "~/")):
        if updates.ca_file is not None:
            yield "updates.ca_file: is of no use for a file"
        return
    if not feed.startswith(("https://", "http://")):
        yield f'updates.feed: "{shown}" is neither https://… nor the path of a file; /path or ~/path is expected'
        return
    try:
        parts = urlsplit(feed)
        known, port = parts.hostname, parts.port
    except ValueError:
        known, port = None, None
    if not known or port == 0 or not feed.isascii() or not feed.isprintable() or " " in feed:
        yield f'updates.feed: "{shown}" is not an address that can be asked'
    elif parts.username is not None or parts.query or parts.fragment:
        yield "updates.feed: an address without @, ? and # is expected; a token belongs into MODOSERU_WORDFENCE_TOKEN"
    elif parts.scheme != "https" and known not in ("127.0.0.1", "::1", "localhost"):
        yield f'updates.feed: "{shown}" is not https; who changes it on its way hides holes'


def _resolver_problems(resolver: str | None) -> Iterator[str]:
    if resolver is None:
        return
    host, _, port = resolver.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        yield f"domains.resolver: {host} is not an address; one such as 127.0.0.1:5353 is expected"
    if not 1 <= int(port) <= 65535:
        yield f"domains.resolver: the port {port} is not between 1 and 65535"


def _policy_problems(policy: Policy) -> Iterator[str]:
    window = waves.WINDOW.fullmatch(policy.update_window)
    if not window or window["from"] == window["to"]:
        shown = visible(policy.update_window, 60)
        yield f'policy.update_window: "{shown}" is not a window; one such as "Mon-Thu 10:00-16:00" is expected'
    for number, freeze in enumerate(policy.freeze, 1):
        at, shown = f"policy.freeze[{number}]", visible(freeze, 60)
        days = waves.period(freeze)
        if days is None:
            yield f'{at}: "{shown}" is not a period; one such as "2026-12-28/2027-01-05" is expected'
        elif days[0] > days[1]:
            yield f'{at}: "{shown}" ends before it begins'


def site_problems(site: Site, name: str) -> list[str]:
    """What makes no sense in a site's own file, which messages call `name`."""
    return [
        f"{name}: {problem}"
        for problem in (*_ssh_problems(site.ssh), *_server_problems(site), *_renewal_problems(site))
    ]


def _renewal_problems(site: Site) -> Iterator[str]:
    names = [one.what for one in site.renewals]
    for number, one in enumerate(site.renewals, 1):
        if one.what in names[: number - 1]:
            yield f'renewals[{number}].what: "{visible(one.what, 60)}" is named twice; each wants a name of its own'
        if one.state == "confirmed" and not (one.evidence or "").strip():
            yield f'renewals[{number}].state: confirmed wants evidence = "…", such as an invoice\'s number'


def _ssh_problems(ssh: SshSettings) -> Iterator[str]:
    for at, key in (("ssh.host_key", ssh.host_key), ("ssh.jump_host_key", ssh.jump_host_key)):
        if key is not None and _public_key_problem(key):
            yield f"{at}: is not a public key; one such as ssh-ed25519 AAAA… is expected"
    if ssh.key is not None and ("PRIVATE KEY" in ssh.key or "\n" in ssh.key):
        yield "ssh.key: holds a key; the name of a key file is expected"
    if ssh.jump and not ssh.jump_host_key:
        yield "ssh.jump_host_key: is missing; a jump host needs its pinned public key"
    if ssh.jump_host_key and not ssh.jump:
        yield "ssh.jump: is missing; jump_host_key is of no use without it"
    port = ssh.jump.rpartition(":")[2] if ssh.jump and ":" in ssh.jump else "22"
    if not 1 <= int(port) <= 65535:
        yield f"ssh.jump: the port {port} is not between 1 and 65535"


def _server_problems(site: Site) -> Iterator[str]:
    root = site.server.root
    if not root.startswith(("/", "~/")) or not root.strip("/~"):
        yield f'server.root: "{visible(root, 80)}" is not a document root; /path or ~/path is expected'
    if ".." in root.split("/"):
        yield "server.root: must not contain .."
    if ".." in site.server.state.split("/") or not site.server.state.strip("/~."):
        yield "server.state: must name a folder without .."
    if site.server.database is not None and not site.server.database.password_command:
        yield "server.database.password_command: is empty; a list of words is expected, the first a program"
    if site.runtime.database is not None and not site.runtime.database.password_command:
        yield "runtime.database.password_command: is empty; a list of words is expected, the first a program"
    if site.web.connect and not 1 <= int(site.web.connect.rpartition(":")[2]) <= 65535:
        yield f"web.connect: the port {site.web.connect.rpartition(':')[2]} is not between 1 and 65535"
    yield from switch_problems(site.runtime)
    yield from _guard_problems(site.guard)
    yield from _journey_problems(site.web.journey)
    yield from _policy_problems(site.policy)


def _guard_problems(guard: GuardSettings) -> Iterator[str]:
    for key, networks in (("allow", guard.allow), ("proxies", guard.proxies)):
        for text in networks:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                yield f'guard.{key}: "{visible(text, 80)}" is no address and no network; 203.0.113.0/24 is one'
    if guard.longest_s < guard.block_s:
        yield "guard.longest_s: is less than block_s, the first block"


def switch_problems(runtime: RuntimeSettings) -> Iterator[str]:
    """A switch that nobody could take back is none; a word in braces that means nothing is a slip."""
    for key, words, other in (
        ("switch", runtime.php.switch, runtime.php.back),
        ("back", runtime.php.back, runtime.php.switch),
    ):
        if other and not words:
            yield f"runtime.php.{key}: is missing; switch and back go together"
        for name in re.findall(r"\{([^{}]*)\}", " ".join(words)):
            if name not in ("php", "version", "site"):
                yield f"runtime.php.{key}: {{{visible(name, 40)}}} means nothing; {{php}}, {{version}} and {{site}} do"


def _journey_problems(journeys: Sequence[Journey]) -> Iterator[str]:
    names = [journey.name for journey in journeys]
    for number, journey in enumerate(journeys, 1):
        if journey.name in names[: number - 1]:
            yield f'web.journey[{number}].name: "{visible(journey.name, 60)}" is also the name of another journey'
        for place, step in enumerate(journey.step, 1):
            at = f"web.journey[{number}].step[{place}]"
            if (step.get is None) == (step.post is None):
                yield f"{at}: either get or post is expected"
            elif "://" in step.path or step.path.startswith("//") or ".." in step.path.split("?")[0].split("/"):
                shown = visible(step.path, 60)
                yield f'{at}: "{shown}" is not below the site\'s URL; a path such as /cart/ is expected'
            if step.get is not None and (step.form or step.hidden):
                yield f"{at}: form and hidden are of no use without post"
            elif step.hidden and (place == 1 or not step.form):
                yield f"{at}.hidden: a step before it, and form with a field of that page, are expected"


def _public_key_problem(text: str) -> bool:
    kind, _, rest = text.strip().partition(" ")
    try:
        blob = base64.b64decode(rest.split()[0], validate=True) if rest.strip() else b""
    except (binascii.Error, ValueError):
        return True
    return not kind.startswith(_KEY_TYPES) or kind.encode() not in blob[:64]


def standby_problems(settings: FleetFile, sites: Sequence[tuple[str, Site]]) -> Iterator[str]:
    """A standby has to be a site of the fleet."""
    known = {site.name for _, site in sites}
    named = settings.policy.standby
    for name, standby in [("fleet.toml", named), *((file, site.policy.standby) for file, site in sites)]:
        if standby is not None and standby not in known and (name == "fleet.toml" or standby != named):
            yield f'{name}: policy.standby: "{visible(standby, 80)}" is not a site of the fleet'


def collisions(sites: Sequence[tuple[str, Site]]) -> Iterator[str]:
    """Sites that would stand in each other's way: one name, or one document root of one account, used twice."""
    names: dict[str, str] = {}
    roots: dict[tuple[tuple[str, int, str], str], str] = {}
    for name, site in sites:
        first = names.setdefault(site.name.casefold(), name)
        if first != name:
            yield f'{name}: name: "{site.name}" is also the name in {first}'
        root = re.sub(r"/+", "/", site.server.root).rstrip("/")
        first = roots.setdefault((site.account, root), name)
        if first != name:
            yield f'{name}: server.root: "{visible(root, 80)}" of this account is also the root in {first}'
