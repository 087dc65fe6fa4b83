"""Speaks to the agent on a site's server. Knows the protocol, no policy and no screen.

Protocol 1
==========
Two remote commands exist, both constant words (`backends.records.RemoteWord`), whatever the login shell:

    PHP OPTIONS                                stdin: the loader, a PHP script; installs the agent
    PHP OPTIONS STATE/agent-HASH.php VERB      stdin: the request, one JSON object

PHP is `[server] php`; OPTIONS are `-d disable_functions= -d open_basedir= -d memory_limit=256M
-d display_errors=stderr`; STATE is `[server] state` relative to the home folder; HASH the first 16 hex digits of the
SHA-256 of the agent's bytes. The loader carries `{"marker","state","name","sha256","body"}` as Base64 JSON in the
line `$request = '…';`; without `body` it only compares. Its reply is `{"installed": true|false}`.

A request is one line and has `protocol` (1), `marker` (random hex), `site`, `root`, `state`, `exclude`, `url`, and the
verb's own fields. An answer is any number of lines; those that begin with the marker and a space hold one JSON object
each, all others are noise (plugins echo, shells greet):

    {"event": {…}}      one event of an operation, as `backends.records.AnyEvent`; `line` counts from 0 without gaps
    {"reply": {…}}      the last line of success
    {"error": {"code", "message", "hint"}}     the last line of failure; nothing was changed unless an event says so

A connection that ends before the last line is cut, never "done".

| verb | request | reply |
|---|---|---|
| inspect | refresh: bool (asks wordpress.org anew), credentials (tried where the root is empty) | an Inspection |
| generations | | {"generations": [Generation…] newest first, "summaries": {id: SHA-256}, "let_go": [id…]}; all in
                  `inspect` too. `let_go`: what the server says its retention removed; its word, no more |
| operations | | {"operations": [{operation, kind, state, outcome, generation, started, detail, whole}]} newest first;
                  state: `running`, `waiting` (its process is gone and somebody must look), `orphaned`, `finished` |
| preview | generation, only, seal, fresh, credentials | {"generation", "blockers", "warnings", "loss": {posts,
                  comments, users, orders, entries, files, newest}, "recommended": `files` or null, "database":
                  {opens: `live`, `given` or `generation`: whose credentials open it, or null; name, user, host: what is
                  known where none do} or null where it is not needed} |
| diff | generation, full: bool (reads also what has its old size, times and inode), most: how many of each list, core |
                  a Difference without `site`; Progress events first. Needs neither WordPress nor a database: what
                  it cannot compare is a warning (busy; no_root, no_wordpress, no_config: files alone; no_database,
                  damaged, no_order: not all of the database; unreadable: not all of the files) |
| checksums | sha256 of a list or null, of: `core` or `plugins`; behind the request's line that list: `core VERSION
                  LOCALE`, then a line `MD5 PATH` for each file; of plugins, for each, `plugin SLUG VERSION`, then lines
                  `SHA256[,SHA256…] PATH` | {"version", "locale": of core as it says itself, "sha256": of the list that
                  lies there}, each null where there is none; {"plugins": {folder: version}, "plugins_sha256"}. A
                  snapshot and a diff take `core`: {sha256 of the list to judge core by, or null; problem: why there is
                  none}, and `plugins`: the same with unknown: {folder: why}, ignore: [{path below the plugins' folder,
                  why}]; absent: nobody asks |
| mark | generation, pinned: bool or null, word: `clean`, `suspect` or null | {"generation": Generation} |
| send | generation, what: `summary`, `manifest`, `dump` or a pack's id, offset | from there to its end: lines
                  {"piece": {"length"}}, each with as many raw bytes behind it; then {"size": of the whole part} |
| receive | transfer (16 to 64 hex digits), what, size (of the whole part), offset; behind the request's line, to the
                  end of stdin, what stands there from `offset` on | {"size": bytes that are there now}. What came
                  before a connection was lost stays. Without offset it only tells how much is there. Parts lie in
                  `incoming/TRANSFER/`; what nobody comes back for in three days goes |
| lacking | transfer, summary: its text, seal: its SHA-256 | {"lacking": [{what: `manifest`, `dump` or a pack's id,
                  have: bytes that were received}…]}: the parts to receive before `adopt`; Progress events first. What
                  was received, or is on the server, counts where its hash is the summary's; what was received and can
                  become no part is removed (damaged: not that seal, or no summary; no_space: no room for all of it) |
| adopt | transfer, summary, seal | {"generation": Generation, "seal"}; Progress events first. Of parts that were
                  received, or are here, a generation of the server's own, pinned: retention would know it as an old one
                  alone. A pack with other bytes is replaced for every generation that needs it; a generation of that id
                  with another seal goes to `replaced/ID-SEAL8`. Killed anywhere, it goes on when it is asked again
                  (busy and waiting as if it launched; damaged: a part is not here as it was sealed; no_space) |
| probe | | launches: lives for a moment after its connection closed |
| snapshot | reason, keep, min_age_s, front (the front page's title as it was last seen well, or null), signs,
                  full_every_s (every live file is read again when the last time is longer ago), core,
                  sealed: {id: SHA-256}, marked: {id: `clean` or `suspect`}, pinned: [id…] | launches.
                  `sealed`, `marked` and `pinned` are what the client's own journal knows: where `sealed` has any,
                  only those generations (and the new one) fill the places of `keep`, and only its marks count |
| posts | generation, seal, words | {"generation", "posts": [{id, type, title, status, modified, now}]}: posts and
                  pages of the generation whose titles have all the words, or whose ID is the word; the 50 latest. now:
                  `gone`, `trashed`, `changed`, `same`, or `other` where the ID is another post's |
| post | generation, seal, id | a Post: what the generation holds, what the site shows, what a restore would change |
| verify | generation, seal: SHA-256 or null | launches; changes nothing but what is damaged, towards `seal` alone |
| restore | generation, only (`all`, `files`, `database`, `post:ID` or a list of paths below the root), seal (its hash
                  where the client keeps one), fresh: bool (nothing live is linked or left as it is), credentials:
                  {name, user, password, host} of the database or null | launches.
                  Credentials serve where the live wp-config.php does not open it, before the generation's; what opens
                  it is written into the restored wp-config.php where its own do not. They lie in `ops/ID/credentials`
                  until the operation ends, in no journal and not in its request. A generation that was made in
                  another account or folder has its areas here (relocated.php), with Notes `relocated` (settings whose
                  paths lead here now) and `old_paths`; one half of a site whose other half is not here is not looked
                  at, with a Note `half`. With
                  `transfer` and `incoming`: {site, url} of another site whose generation was received: it is read
                  whole against its summary, its tables take this site's prefix and address (a further step `rewrite`
                  after `verify`), wp-config.php stays this site's. `preview` takes the same, with {summary: its text}
                  in `incoming` while its bytes are elsewhere |
| undo | operation (absent: the newest that can be undone) | launches |
| update | items: [{kind, slug}], generation | launches |
| isolate | allow: [address or network…], wait_s | launches; asks `closed` with the probes as item, below the URL:
                  ITEM.php, ITEM.txt and modoseru-HEX.php are to be refused, .well-known/acme-challenge/modoseru-HEX is
                  to be served. Answered `static`, modes follow, and it asks again. From then on snapshot and update
                  are refused (isolated), and what restore and undo put live is closed too |
| release | | launches; the site is as it was before, byte for byte, or as what was restored is |
| drill | generation, seal | launches; its Finished(done) is a proof, drill_failed and damaged disprove the
                  generation, every other code says that nothing was found out. With `transfer` another site's lies in
                  incoming/ and `url` is that site's: it only visits, and goes when the operation ends |
| answer | operation, number, keep, detail | {"state"} ; continues the operation where its process is gone |
| follow | operation, from | events from line `from` on, then {"state": "finished|waiting|orphaned"} |
| cancel | operation | {"asked": bool}; the operation's own Finished says whether it was cancelled |
| recover | | {"recovered": [{operation, outcome}]}; rolls what a dead process left behind back, or forward |
| page | token | {"page": "modoseru-TOKEN.php"}: one GET of it below the site's URL renews opcache, answers
                  {"modoseru": TOKEN, "php": "8.2.1", "opcache": bool} and removes it |

| pages | | {"pages": [path and query below the URL…]}: at most 12 that stand for the rest of the site |
| database | target: {name, user, password, host} of a database that the site's could move to, or null | a
                  DatabaseReport: the server, the tables (500 at most), and what a newer or another one would refuse of
                  them, by kind. Reads the dictionary alone; WordPress is not started. Of a target, what is in the way
                  of a move: target_refuses, same_database, not_empty, no_grant, small_packet, dialect, config |

| guard | do: `show`, `install`, `remove`, `block` or `unblock`; settings: {allow, proxies: [network…], address,
                  account, xmlrpc: failures, or calls a minute, that block; window_s, block_s, longest_s} of an install;
                  key: `a:ADDRESS` (of an IPv6 its /64) or `u:ACCOUNT` and seconds of a block |
                  a GuardReport (busy and waiting as if it launched, but `show`; not_ours: another file has its
                  name; not_guarded; not_writable). What is not `show` is done before it is told |

| runtimes | | {"binaries": [{path, version, sapi, extensions, ini, cli: it runs this agent, problem: why it could not
                  be asked, or null}…]}: 40 at most, each started once and killed after 5 s |
| runtime | php (a path, a name, a version), generation, seal, pages: [below the URL…; none: the copy names them] |
                  launches; changes nothing but its own cache of files that were read well under a PHP |
| rehouse | credentials of the new, empty database, and the fields of a snapshot but reason | launches; `database` says
                  what is in its way, and so does its Finished. Its steps: preflight, those of a snapshot, load, verify,
                  switch, check. It asks `reset` while the site is closed, then `look`. Notes: `followed` (tables that
                  changed since the generation), `not_locked`, `cut_off`, `left_behind` (tables written on the other
                  side), `left_over` (the new database could not be emptied). An undo of it changes wp-config.php |
| found | operation | what a `runtime` that is done has found: a `backends.runtimes.Trial` |

A verb that *launches* writes the request to `ops/ID/`, starts a process of its own there, replies
{"operation": ID, "detached": bool}, then behaves as `follow` from line 0. Operation ids are
`20261123T021500Z-KIND-HEX6`. Launching on a site whose lock is held gives the error `busy` (its `hint` names the
running operation); one that waits
for an answer gives `waiting`. What a dead process left behind is recovered first, by itself.

A verify `summary packs content` reads every stored byte, then every file and table out of them. Its last Progress of
each step says what was read, all together the `checked_bytes`. Each problem is a Note `damaged` with the path as item
(`summary.json`, `manifest`, `database.sql.gz`, `packs/ID.tar`, a manifest's path, or what no summary names), each that
was put right a Note `healed` with the same item. It ends `done` where nothing is left, otherwise `rolled_back` with the
code damaged; its `summary` is the hash of the summary, for the client to compare with the seal.

Further Notes of a backup: `let_go`, `kept`, `damaged` (item: the generation), `taken_over`, `not_taken_over` (what
lives of an old pack, item: the pack), `hidden` (a file's content changed and its times did not), `suspect` (item: the
sign), `core_unknown`, `plugins_unknown` (why nothing could be compared with wordpress.org's checksums), `plugin_added`
(PHP in plugins' folders that no release has), `plugin_version` (item: a plugin whose version nobody knows, and that had
one that was known), `checksums_ignored` (item: the rule's path).

A journal that was damaged is begun anew with a Note `journal`, and its operation is taken back by the second copy of
what it had to remember; where that is damaged too it ends `needs_hand`. An undo of such an operation is refused
(damaged).

What can be refused before anything begins (no_generation, bad `only`, nothing_to_undo) is an error; what is found
later is `Finished(rolled_back, code, hint)`. A launching verb takes `attached` (the work runs inside the connection),
`wait_s` (how long its process waits for an answer) and `expect` (an Expected, handed on to who looks).

Steps: backup `prepare database files seal retention`; restore `preflight stage verify switch check`; undo `preflight
stage switch check`; update `prepare database files seal update`, with Notes generation, updating, updated, put_back,
not_updated for each item. An update that keeps nothing ends `rolled_back` with the code put_back.

A runtime `binary requires syntax preflight stage verify boot drop` tries the site under another PHP: headers and syntax
of the live files, pages on a staged copy of the generation as a drill has it, each under the PHP of now too, so that
only what differs counts. Where the other PHP lacks what WordPress cannot start without, it ends after `syntax`. Its
Notes are the first ten reasons (`extension`, `requires`, `parse`, `fatal`, `page`, `deprecated`, `warning`,
`not_judged`), the item the slug. Its Finished(done) says that it was found out, whatever that is. Codes: no_php,
other_php, not_judged, too_large.

A drill `preflight stage verify boot drop` touches nothing live, asks nobody and makes no generation; what a restore
takes is the time from its Started to its step `drop`.

`Asked(number, subject="look", token)` means: the switch (or one update) is made; open the one-time page named by
`token`, look from outside, then `answer`. `subject="reset"` comes after something was put back: open the page, the
answer does not matter, it waits 20 s at most. While its process lives it holds the lock and waits; a restore or undo
whose process is gone can be answered later by any client, an update is then put back whole. An undo stays whatever the
look shows.

Error codes: bad_request, protocol, busy, waiting, no_state (home not writable), not_writable (document root), no_root,
no_wordpress, no_config, no_database, no_generation, no_operation, nothing_to_undo, no_space, no_switch, small_packet,
no_grant, dialect, foreign_key, layout, no_post, not_a_post, other_post, other_comment, no_table, columns, too_large,
damaged, no_detach, not_ours, not_guarded, check_failed, put_back, drill_failed, not_judged, needs_hand, internal.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import functools
import hashlib
import json
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from importlib import resources
from typing import Annotated, Any, TypeVar

import msgspec

from backends.records import (
    AnyEvent,
    Blocker,
    Credentials,
    DatabaseReport,
    Difference,
    Generation,
    GuardReport,
    Inspection,
    ModoseruError,
    Outcome,
    Progress,
    Site,
    visible,
    visible_tree,
)
from backends.runtimes import Binaries, Binary, Trial
from backends.ssh import Refused, Servers

T = TypeVar("T")
PROTOCOL = 1
OPTIONS = (
    *("-d", "disable_functions="),
    *("-d", "open_basedir="),
    *("-d", "memory_limit=256M"),
    *("-d", "display_errors=stderr"),
)
SOURCES = (
    *(
        "core",
        "lock",
        "journal",
        "operation",
        "worker",
        "wordpress",
        "database",
        "rows",
        "tree",
        "pack",
        "signs",
        "checksums",
        "plugin_files",
        "scan",
        "generation",
    ),
    *("retention", "heal", "verify", "transfer", "adopt", "serialized", "moved", "relocated"),
    *(
        "switch",
        "access",
        "restore",
        "preflight",
        "staging",
        "linked",
        "tables",
        "constraints",
        "undo",
        "page",
        "isolate",
        "post",
        "post_plan",
        "post_restore",
        "item_database",
        "error_log",
        "update",
        "drill",
        "preview",
        "diff",
        "posts",
        "inspect",
        "database_report",
        "database_target",
        "guard",
        "pages",
        "runtime",
        "runtime_preflight",
        "rehouse",
        "main",
    ),
)
REPLY_LIMIT = 16 * 1024 * 1024
LINE_LIMIT = 4 * 1024 * 1024
PAGES_MOST = 12
_BELOW = re.compile(r"(?![A-Za-z][A-Za-z0-9+.-]*:)[^\x00-\x20\x7f/\\][^\x00-\x20\x7f\\]*")
SETTLES = 300.0
"""Seconds in which a server takes bytes, or has what it took on its disk."""
QUIET = 60.0
"""Seconds: the agent says something every five while it is followed, so silence is a lost connection."""
COMPARED_FOR = 600.0
NOISE_KEPT = 4096


class AgentError(ModoseruError):
    """The agent refused, or what came back is no answer. `code` is one of the protocol's error codes, or
    `no_php` (the command did not run), `cut` (the connection ended before the last line), `bad_answer`."""


class Launched(msgspec.Struct, frozen=True):
    """The first line of a verb that launches: from here on the operation lives on the server."""

    operation: str
    detached: bool


class Ended(msgspec.Struct, frozen=True):
    """Why a stream of events ended: `finished`, `waiting` for an answer, or `orphaned` by a dead process."""

    state: str


class RemoteOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation as the server lists it."""

    operation: str
    kind: str
    state: str
    outcome: Outcome | None = None
    generation: str | None = None
    started: dt.datetime | None = None
    detail: str = ""
    whole: bool = False
    """An update that only a restore of the whole generation takes back: it replaced core."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What is newer than a generation, counted; the newest named."""

    posts: int = 0
    comments: int = 0
    users: int = 0
    orders: int = 0
    entries: int = 0
    """What visitors sent through forms."""
    files: int = 0
    newest: tuple[str, ...] = ()


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """By whose word the database of a site opens that is to be restored."""

    opens: str | None = None
    """`live`, `given` or `generation`; None where no known credentials open it."""
    name: str = ""
    user: str = ""
    host: str = ""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore would meet and lose, before anything is touched."""

    generation: str
    blockers: tuple[Blocker, ...] = ()
    warnings: tuple[Blocker, ...] = ()
    loss: Loss = Loss()
    recommended: str | None = None
    """`files`: the database looks clean, and something newer than the generation would be lost from it."""
    database: Access | None = None


class Article(msgspec.Struct, frozen=True, kw_only=True):
    """A post or page as it was, or is."""

    type: str = "post"
    title: str = ""
    status: str = ""
    modified: dt.datetime | None = None
    excerpt: str = ""
    meta: int = 0
    terms: tuple[str, ...] = ()
    comments: int = 0
    attachments: int = 0


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One post of a generation beside the living site, and what bringing it back would change."""

    generation: str
    id: int
    state: str
    """What it is now: `gone`, `trashed`, `changed`, `same`, or `other` where its ID is another post's."""
    then: Article
    now: Article | None = None
    blockers: tuple[Blocker, ...] = ()
    warnings: tuple[Blocker, ...] = ()
    comments_back: int = 0
    comments_kept: int = 0
    """Comments that are there and stay as they are."""
    terms_back: tuple[str, ...] = ()
    files_back: int = 0
    files_replaced: int = 0


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A post of a generation whose title has the words."""

    id: int
    type: str = "post"
    title: str = ""
    status: str = ""
    modified: dt.datetime | None = None
    now: str = "gone"
    """As `Post.state`."""


class Matches(msgspec.Struct, frozen=True, kw_only=True):
    generation: str
    posts: tuple[Match, ...] = ()


class CoreHere(msgspec.Struct, frozen=True, kw_only=True):
    """The releases of core and plugins on a server by its own word, and the lists of checksums that lie there."""

    version: str | None = None
    locale: str | None = None
    sha256: str | None = None
    plugins: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=100)], Annotated[str, msgspec.Meta(max_length=40)]],
        msgspec.Meta(max_length=500),
    ] = {}
    """Folder, or the name of a plugin of one file, and version, by the headers."""
    plugins_sha256: str | None = None


class Received(msgspec.Struct, frozen=True, kw_only=True):
    size: Annotated[int, msgspec.Meta(ge=0)]


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    pages: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=1000)], ...], msgspec.Meta(max_length=50)]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Of a generation, what a server lacks."""

    what: str
    """As `receive` takes it."""
    have: Annotated[int, msgspec.Meta(ge=0)]
    """Bytes that it received already."""


class Lacking(msgspec.Struct, frozen=True, kw_only=True):
    lacking: tuple[Part, ...]


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """A generation that is one of the server's own again."""

    generation: Generation
    seal: str


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first, with the SHA-256 of each summary as the server tells it."""

    generations: tuple[Generation, ...] = ()
    summaries: Mapping[str, str] = {}
    let_go: tuple[str, ...] = ()
    """Ids that the server says its retention removed."""


class Operations(msgspec.Struct, frozen=True, kw_only=True):
    operations: tuple[RemoteOperation, ...] = ()


@functools.cache
def agent_bytes() -> bytes:
    """The agent as it is installed: its sources joined into one PHP file."""
    folder = resources.files(__package__)
    parts = [(folder / f"{name}.php").read_text(encoding="utf-8").removeprefix("<?php\n") for name in SOURCES]
    parts.insert(1, f"const GUARD_SOURCE = <<<'MODOSERU_GUARD'\n{guard_source()}\nMODOSERU_GUARD;\n")
    return ("<?php\n" + "\n".join(parts)).encode()


def guard_source() -> str:
    """The must-use plugin that the agent puts on a site, before its settings stand in it."""
    return (resources.files(__package__) / "guard" / "modoseru-guard.php").read_text(encoding="utf-8")


@functools.cache
def agent_name() -> str:
    """`agent-HASH.php`; other bytes have another name, so that two versions of Modoseru do not disturb each other."""
    return f"agent-{hashlib.sha256(agent_bytes()).hexdigest()[:16]}.php"


def _loader(request: Mapping[str, Any]) -> bytes:
    packed = base64.b64encode(json.dumps(request).encode()).decode()
    source = (resources.files(__package__) / "loader.php").read_text(encoding="utf-8")
    return source.replace("{{request}}", packed).encode()


class Agents:
    """The agents of a fleet over one pool of connections; remembers where the agent's bytes were compared."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._compared: dict[tuple[object, ...], float] = {}

    def of(self, site: Site) -> Agent:
        return Agent(self._servers, site, self._compared)


class Agent:
    """The agent of one site. Holds no connection: `servers` does. Safe to use from several tasks at once."""

    def __init__(self, servers: Servers, site: Site, compared: dict[tuple[object, ...], float]) -> None:
        self._servers = servers
        self._site = site
        self._compared = compared
        self._state = site.server.state.removeprefix("~/")

    # ---------------------------------------------------------------- verbs that look

    async def inspect(
        self, *, refresh: bool = False, credentials: Credentials | None = None
    ) -> tuple[Inspection, Generations]:
        """One round trip, one PHP boot; also what `generations` tells. `refresh` asks wordpress.org anew. Where the
        document root is empty, `credentials` are tried."""
        request = {"refresh": refresh, "credentials": credentials.spelt_out() if credentials else None}
        reply = await self._ask("inspect", request, timeout=180 if refresh else 60)
        return _decoded(reply, Inspection), _decoded(reply, Generations)

    async def generations(self) -> Generations:
        return _decoded(await self._ask("generations", {}), Generations)

    async def operations(self) -> tuple[RemoteOperation, ...]:
        return _decoded(await self._ask("operations", {}), Operations).operations

    async def preview(
        self,
        generation: str,
        only: str | list[str],
        *,
        seal: str | None = None,
        fresh: bool = False,
        incoming: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
    ) -> Preview:
        """`incoming`: the site, the url and the summary of another site whose generation it is."""
        request = {"generation": generation, "only": only, "seal": seal, "fresh": fresh, "incoming": incoming}
        request["credentials"] = credentials.spelt_out() if credentials else None
        return _decoded(await self._ask("preview", request, timeout=300), Preview)

    async def posts(self, generation: str, words: str, *, seal: str | None = None) -> tuple[Match, ...]:
        """At most 50, the latest first."""
        request = {"generation": generation, "words": words, "seal": seal}
        return _decoded(await self._ask("posts", request, timeout=300), Matches).posts

    async def post(self, generation: str, post: int, *, seal: str | None = None) -> Post:
        """Raises AgentError, code `no_post` where the generation does not hold it."""
        request = {"generation": generation, "id": post, "seal": seal}
        return _decoded(await self._ask("post", request, timeout=300), Post)

    async def send(
        self, generation: str, what: str, offset: int = 0, *, size: int | None = None
    ) -> AsyncGenerator[memoryview]:
        """A part of a generation from `offset` to its end. Nothing is hashed: its whole has a hash in the summary.

        Raises AgentError: damaged where it has not `size` bytes, cut.
        """
        at = offset
        async with contextlib.aclosing(
            self._answers("send", {"generation": generation, "what": what, "offset": offset})
        ) as answers:
            async for answer in answers:
                # JSON holds no such thing: no line of a server passes for bytes.
                if isinstance(block := answer.get("content"), memoryview):
                    at += len(block)
                    if size is not None and at > size:
                        break
                    yield block
                    continue
                if _reply_of(answer).get("size") != at or size not in {None, at}:
                    break
                return
        raise AgentError(
            "damaged",
            f"the part {what} of the generation is not what was sealed",
            f"see modoseru verify {self._site.name}",
        )

    async def received(self, transfer: str, what: str, size: int) -> int:
        """How many bytes of a part are there, of `size`. Raises AgentError (no_space)."""
        return _size_of(await self._ask("receive", {"transfer": transfer, "what": what, "size": size}))

    async def receive(
        self, transfer: str, what: str, size: int, offset: int, content: bytes | AsyncIterator[bytes | memoryview]
    ) -> int:
        """Lays `content` down from `offset` on; returns how many bytes are there now. What follows them there goes.

        Raises AgentError: cut where some may have arrived (`received` tells), no_space, busy.
        """
        await self._install()
        fields = {"transfer": transfer, "what": what, "size": size, "offset": offset}
        marker, request = self._request(fields)
        noise = b""
        async with self._servers.stream(
            self._site.ssh, self._words("receive"), request + b"\n", ends=False, line_most=LINE_LIMIT, quiet=SETTLES
        ) as stream:
            if isinstance(content, bytes):
                await stream.write(content)
            else:
                async for block in content:
                    if not await stream.write(bytes(block)):
                        break
            await stream.write(b"", ends=True)
            async for line in stream:
                if (answer := _answer_of(marker, line)) is not None:
                    return _size_of(_reply_of(answer))
                noise = (noise + line)[-NOISE_KEPT:]
        noise += stream.stderr_tail()
        if _is_missing(noise):
            self._compared.clear()
            raise self._cut()
        raise _no_answer(self._site, noise, stream.exit_status)

    async def mark(self, generation: str, *, pinned: bool | None = None, state: str | None = None) -> Generation:
        """An operator's word: pinned or not, `clean` or `suspect`; None leaves it as it is."""
        reply = await self._ask("mark", {"generation": generation, "pinned": pinned, "word": state})
        return _decoded(reply.get("generation"), Generation)

    async def checksums(self, text: bytes | None = None, *, of: str = "core") -> CoreHere:
        """What is there; `text` is kept as the list to judge core or `plugins` by. Raises AgentError (no_root …)."""
        fields = {"sha256": None if text is None else hashlib.sha256(text).hexdigest(), "of": of}
        return _decoded(await self._ask("checksums", fields, behind=text or b""), CoreHere)

    async def diff(
        self,
        generation: str,
        *,
        full: bool = False,
        core: Mapping[str, Any] | None = None,
        plugins: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[Progress | Difference]:
        """The live site against a generation: how far it is, then what differs. Closing the generator ends the work.

        `full`: every file is read, also where its size and times say that it is the same. `core`, `plugins`: the lists
        that these are judged by, as the protocol has it.
        """
        request = {"generation": generation, "full": full, "core": core, "plugins": plugins}
        async with contextlib.aclosing(self._looked("diff", request, Difference)) as told:
            async for one in told:
                yield one

    async def lacking(self, transfer: str, summary: bytes, seal: str) -> AsyncGenerator[Progress | Lacking]:
        """How far it is with hashing, then the parts that have to be received. Closing the generator ends the work.

        Raises AgentError: damaged where `seal` is not that of `summary`, or it is none; no_space where they do not fit.
        """
        request = {"transfer": transfer, "summary": summary.decode(errors="replace"), "seal": seal}
        async with contextlib.aclosing(self._looked("lacking", request, Lacking)) as told:
            async for one in told:
                yield one

    async def adopt(self, transfer: str, summary: bytes, seal: str) -> AsyncGenerator[Progress | Adopted]:
        """Of what was received, or is there, a generation of the server's own; it is pinned.

        Closing the generator leaves it half done: asked again, it goes on. Raises AgentError: busy, waiting (`hint`
        names the operation where there is one), damaged where a part is not there as it was sealed, no_space.
        """
        request = {"transfer": transfer, "summary": summary.decode(errors="replace"), "seal": seal}
        async with contextlib.aclosing(self._looked("adopt", request, Adopted)) as told:
            async for one in told:
                yield one

    async def recover(self) -> None:
        """Rolls what a dead process left behind back, or forward."""
        await self._ask("recover", {}, timeout=600)

    async def pages(self) -> tuple[str, ...]:
        """Pages that stand for the rest of the site, below its URL: shop, forms, the newest of each kind."""
        named = _decoded(await self._ask("pages", {}), Pages).pages
        # A site may not send its operators elsewhere.
        return tuple(page for page in named if _BELOW.fullmatch(page))[:PAGES_MOST]

    async def runtimes(self) -> tuple[Binary, ...]:
        """The PHP binaries of the server; each was started once."""
        return _decoded(await self._ask("runtimes", {}, timeout=90), Binaries).binaries

    async def found(self, operation: str) -> Trial:
        """What a `runtime` that ended has found."""
        return _decoded(await self._ask("found", {"operation": operation}), Trial)

    async def database(self, target: Credentials | None = None) -> DatabaseReport:
        """The database's server, its tables, what another one would refuse of them, and whether they could move to
        `target`. Raises AgentError: no_database."""
        request = {"target": target.spelt_out() if target else None}
        return _decoded(await self._ask("database", request), DatabaseReport)

    async def guard(self, do: str, **fields: Any) -> GuardReport:
        """`do` as the protocol has it; what stands there afterwards. Raises AgentError: busy, not_ours …"""
        return _decoded(await self._ask("guard", {"do": do, **fields}), GuardReport)

    async def page(self) -> str:
        """Leaves the one-time page that renews opcache on the web side; returns its name."""
        return str((await self._ask("page", {"token": secrets.token_hex(16)}))["page"])

    # ---------------------------------------------------------------- operations

    async def launch(
        self, verb: str, request: Mapping[str, Any], *, credentials: Credentials | None = None
    ) -> AsyncGenerator[Launched | AnyEvent | Ended]:
        """Begins an operation and follows it: `Launched`, its events, `Ended`.

        Closing the generator detaches. Raises AgentError: nothing began, or (code `cut`) the connection was lost
        after `Launched`, and `follow` goes on from the next line.
        """
        fields = {**request, "attached": self._site.server.attached}
        if credentials is not None:
            fields["credentials"] = credentials.spelt_out()
        async with contextlib.aclosing(self._stream(verb, fields)) as lines:
            async for line in lines:
                yield line

    async def follow(self, operation: str, start: int) -> AsyncGenerator[Launched | AnyEvent | Ended]:
        """Events from line `start` on, then `Ended`. Raises AgentError, code `cut` where the connection was lost."""
        async with contextlib.aclosing(self._stream("follow", {"operation": operation, "from": start})) as lines:
            async for line in lines:
                yield line

    async def answer(self, operation: str, number: int, *, keep: bool, detail: str) -> None:
        await self._ask("answer", {"operation": operation, "number": number, "keep": keep, "detail": detail[:500]})

    async def cancel(self, operation: str) -> bool:
        """True where the operation was asked to stop; its own Finished says whether it did."""
        return bool((await self._ask("cancel", {"operation": operation})).get("asked"))

    # ---------------------------------------------------------------- the wire

    def _request(self, fields: Mapping[str, Any]) -> tuple[str, bytes]:
        marker = secrets.token_hex(16)
        server = self._site.server
        request = {
            "protocol": PROTOCOL,
            "marker": marker,
            "site": self._site.name,
            "url": self._site.url,
            "root": server.root,
            "state": server.state,
            "exclude": list(server.exclude),
            "files_max": server.files_max,
            "bytes_max": server.bytes_max,
            "cpu": server.cpu,
            **fields,
        }
        return marker, json.dumps(request).encode()

    def _words(self, verb: str) -> list[str]:
        return [self._site.server.php, *OPTIONS, f"{self._state}/{agent_name()}", verb]

    async def _ask(
        self, verb: str, fields: Mapping[str, Any], *, timeout: float = 60, behind: bytes = b""
    ) -> dict[str, Any]:
        """The reply. `behind` follows the request's line."""
        marker, stdout = await self._answered(verb, fields, timeout=timeout, behind=behind)
        answer = _last_of(marker, stdout)
        assert answer is not None
        return _reply_of(answer)

    async def _answered(
        self, verb: str, fields: Mapping[str, Any], *, timeout: float, behind: bytes = b""
    ) -> tuple[str, bytes]:
        """The marker and an answer that has a last line."""
        for attempt in (1, 2):
            await self._install(force=attempt == 2)
            marker, request = self._request(fields)
            done = await self._servers.run(
                self._site.ssh, self._words(verb), request + b"\n" + behind, timeout=timeout, limit=REPLY_LIMIT
            )
            if _last_of(marker, done.stdout) is not None:
                return marker, done.stdout
            if attempt == 1 and _is_missing(done.stdout + done.stderr):
                continue
            raise _no_answer(self._site, done.stdout + done.stderr, done.exit_status)
        raise AssertionError

    async def _stream(self, verb: str, fields: Mapping[str, Any]) -> AsyncGenerator[Launched | AnyEvent | Ended]:
        async with contextlib.aclosing(self._answers(verb, fields)) as answers:
            async for answer in answers:
                told = _told(answer)
                yield told
                if isinstance(told, Ended):
                    return

    async def _looked(self, verb: str, fields: Mapping[str, Any], kind: type[T]) -> AsyncGenerator[Progress | T]:
        """A verb that tells how far it is and has no operation: its Progress events, then its reply."""
        async with contextlib.aclosing(self._answers(verb, fields)) as answers:
            async for answer in answers:
                if "event" not in answer:
                    yield _decoded(_reply_of(answer), kind)
                    return
                if isinstance(event := _event(answer["event"]), Progress):
                    yield event

    async def _answers(self, verb: str, fields: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """The lines behind the marker. Raises AgentError `cut` where the caller wants more of them than came."""
        for attempt in (1, 2):
            await self._install(force=attempt == 2)
            marker, request = self._request(fields)
            seen, noise = False, b""
            try:
                async with self._servers.stream(
                    self._site.ssh, self._words(verb), request, line_most=LINE_LIMIT, quiet=QUIET
                ) as stream:
                    async for line in stream:
                        answer = _answer_of(marker, line)
                        if answer is None:
                            noise = (noise + line)[-NOISE_KEPT:]
                            continue
                        seen = True
                        length = _piece_of(answer)
                        if length is None:
                            yield answer
                        else:
                            async for block in stream.exactly(length):
                                yield {"content": block}
            except Refused as lost:
                if seen and lost.code == "ssh_lost":
                    raise self._cut() from lost
                raise
            if seen:
                raise self._cut()
            output = stream.stderr_tail() + noise
            if attempt == 2 or not _is_missing(output):
                raise _no_answer(self._site, output, stream.exit_status)

    def _cut(self) -> AgentError:
        return AgentError("cut", f"the connection to {self._site.ssh.host} was lost", "it is followed again")

    async def _install(self, *, force: bool = False) -> None:
        """Compares the agent's bytes on the server, once in ten minutes, and copies them where they differ."""
        key = (*self._site.account, self._site.server.state)
        if not force and time.monotonic() - self._compared.get(key, -COMPARED_FOR) < COMPARED_FOR:
            return
        body = agent_bytes()
        request = {
            "marker": secrets.token_hex(16),
            "state": self._site.server.state,
            "name": agent_name(),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        installed = await self._load(request)
        if not installed and not await self._load({**request, "body": base64.b64encode(body).decode()}):
            raise AgentError(
                "no_state",
                f"the agent cannot be installed below {self._site.server.state}",
                "make the home folder writable and free some space, or set [server] state",
            )
        self._compared[key] = time.monotonic()

    async def _load(self, request: Mapping[str, Any]) -> bool:
        done = await self._servers.run(
            self._site.ssh, [self._site.server.php, *OPTIONS], _loader(request), timeout=60, limit=REPLY_LIMIT
        )
        for line in done.stdout.split(b"\n"):
            answer = _answer_of(request["marker"], line)
            if answer is not None:
                return bool(_reply_of(answer).get("installed"))
        raise _no_answer(self._site, done.stdout + done.stderr, done.exit_status)


def _last_of(marker: str, stdout: bytes) -> dict[str, Any] | None:
    """The last line that is a reply or an error, looked for from the end."""
    end = len(stdout)
    while (at := stdout.rfind(marker.encode(), 0, end)) >= 0:
        if at == 0 or stdout[at - 1 : at] == b"\n":
            answer = _answer_of(marker, stdout[at:].split(b"\n", 1)[0])
            if answer is not None and "event" not in answer:
                return answer
        end = at
    return None


def _answer_of(marker: str, line: bytes) -> dict[str, Any] | None:
    if not line.startswith(marker.encode() + b" "):
        return None
    try:
        answer = msgspec.json.decode(line[len(marker) + 1 :], type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise AgentError("bad_answer", f"the server's answer is not readable: {error}", "look at the server") from error
    tree: dict[str, Any] = visible_tree(answer)
    return tree


def _piece_of(answer: dict[str, Any]) -> int | None:
    """How many raw bytes follow the line."""
    piece = answer.get("piece")
    length = piece.get("length") if isinstance(piece, dict) else None
    return length if isinstance(length, int) and 0 < length <= LINE_LIMIT else None


def _told(answer: dict[str, Any]) -> Launched | AnyEvent | Ended:
    """One line of a verb that follows."""
    if "event" in answer:
        return _event(answer["event"])
    reply = _reply_of(answer)
    return _decoded(reply, Launched) if "operation" in reply else _decoded(reply, Ended)


def _reply_of(answer: dict[str, Any]) -> dict[str, Any]:
    error = answer.get("error")
    if isinstance(error, dict):
        text = {key: str(error.get(key, "")) for key in ("code", "message", "hint")}
        raise AgentError(text["code"], text["message"], text["hint"])
    reply = answer.get("reply")
    if not isinstance(reply, dict):
        raise AgentError("bad_answer", "the server's answer has neither reply nor error", "look at the server")
    return reply


def _size_of(reply: dict[str, Any]) -> int:
    return _decoded(reply, Received).size


def _decoded(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise AgentError("bad_answer", f"the server's answer does not fit: {error}", "update Modoseru") from error


def _event(value: Any) -> AnyEvent:
    try:
        event: AnyEvent = msgspec.convert(value, AnyEvent)
    except msgspec.ValidationError as error:
        raise AgentError("bad_answer", f"the server's event does not fit: {error}", "update Modoseru") from error
    return event


def _is_missing(output: bytes) -> bool:
    return b"Could not open input file" in output


def _no_answer(site: Site, output: bytes, status: int | None) -> AgentError:
    """PHP is missing, or died before it could speak."""
    said = visible(
        output.decode(errors="replace").strip().splitlines()[-1] if output.strip() else "it printed nothing", 200
    )
    if status in (126, 127) or b"not found" in output.lower() or b"no such file" in output.lower():
        return AgentError(
            "no_php",
            f"{site.server.php} does not run on {site.ssh.host}: {said}",
            "set [server] php to the full path of the PHP that the site uses",
        )
    return AgentError(
        "no_php",
        f"the agent gave no answer on {site.ssh.host} (exit status {status}): {said}",
        "set [server] php to the PHP that the site uses, and try modoseru site test",
    )
