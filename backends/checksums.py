"""What wordpress.org publishes of a release of core or of a plugin: hashes of its files. Asked rarely, over HTTPS.

Knows no site and judges nothing. That nothing could be learnt is an exception with its reason, never an empty list.
Imports aiohttp where something is asked.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import hashlib
import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from backends import asking
from backends.endpoint import endpoint
from backends.records import WordpressSettings, visible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends.domains import Cache

KEPT = dt.timedelta(days=30)
"""A release is published once. It is asked for again all the same: a package was mended after its release before."""
REFUSAL_KEPT = dt.timedelta(hours=6)
"""How long a release that is not known is not asked for again: the checksums may follow a release by hours."""
ANSWER_LIMIT = 2 * 1024 * 1024
"""Bytes of an answer; 7.1 takes 280 kB."""
PLUGIN_LIMIT = 8 * 1024 * 1024
"""Bytes of an answer; a plugin of 7,000 files takes 1.5 MB."""
FILES_MOST = 20_000
_VERSION = re.compile(r"[0-9][0-9A-Za-z.-]{0,39}")
_LOCALE = re.compile(r"[a-z]{2,3}(_[A-Za-z0-9]{2,12}){0,2}")
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PLUGIN_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,39}")
_RUN = re.compile(r"\.(?:php\d?|phtml|phar|pht|inc|m?js|html?|svg)\Z", re.IGNORECASE)
"""What a server or a browser runs of a plugin; the rest is changed by people and is not judged."""
_PATH = re.compile(r"(?!/)(?!.*(^|/)\.\.?(/|$))[!-~]([ -~]{0,298}[!-~])?")
_SURE = "wp-includes/version.php"
"""A list without it is of something else."""

Path = Annotated[str, Meta(pattern=r"^(?!/)(?!.*(^|/)\.\.?(/|$))[!-~]([ -~]{0,298}[!-~])?\Z", max_length=300)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Md5 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class ChecksumsUnknown(Exception):  # noqa: N818 - says what happened
    """Nothing is known of that release now. The text is a sentence without a full stop."""


class Release(Struct, frozen=True, kw_only=True, dict=True):
    """The files of core of one release, themes and plugins left out: those have versions of their own."""

    version: str
    locale: str
    files: dict[Path, Md5]
    asked: dt.datetime
    """When wordpress.org said so."""

    @functools.cached_property
    def text(self) -> bytes:
        """As the agent keeps it: `core VERSION LOCALE`, then a line `MD5 PATH` for each file, sorted by path."""
        lines = [f"core {self.version} {self.locale}", *(f"{md5} {path}" for path, md5 in sorted(self.files.items()))]
        return "\n".join(lines).encode() + b"\n"

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.text).hexdigest()


class _Answer(Struct, frozen=True):
    """`checksums` is false where wordpress.org does not know the release."""

    checksums: dict[Path, Md5] | bool


class _Kept(Struct, frozen=True):
    """Of core an MD5 a file, of a plugin the SHA-256 of each of the file's contents, joined by commas."""

    files: dict[Path, Annotated[str, Meta(pattern=r"^([0-9a-f]{32}|[0-9a-f]{64}(,[0-9a-f]{64})*)\Z")]] | None


class _Hashes(Struct, frozen=True):
    """A release whose tag was changed after it was packed has several of each."""

    sha256: Sha256 | Annotated[tuple[Sha256, ...], Meta(min_length=1, max_length=50)]


class _PluginAnswer(Struct, frozen=True):
    plugin: str
    version: str
    files: Annotated[dict[str, _Hashes], Meta(min_length=1, max_length=FILES_MOST)]


class _NotThere(Exception):  # noqa: N818 - says what happened
    """Status 404."""


class Publisher:
    """wordpress.org, as far as it says what belongs to a release; one object for a process."""

    def __init__(self, settings: WordpressSettings, *, cache: Cache, timeout: float = 15.0) -> None:
        self._settings, self._cache, self._timeout = settings, cache, timeout
        self._asking = asyncio.Lock()

    async def core(self, version: str, locale: str, *, now: dt.datetime | None = None) -> Release:
        """The files of a release of core; an older answer stands in for one that cannot be had now.

        `version` and `locale` may be anybody's word. Raises ChecksumsUnknown.
        """
        if not _VERSION.fullmatch(version) or not _LOCALE.fullmatch(locale):
            raise ChecksumsUnknown(f"{visible(version, 40)} {visible(locale, 40)} is no release of WordPress")
        now = now or dt.datetime.now(dt.UTC)
        # Many sites of a fleet have the same release: the first one asks for all.
        async with self._asking:
            key = f"core:{version}:{locale}"
            files, asked = await self._known(key, functools.partial(self._ask, version, locale), now)
        if files is None:
            raise ChecksumsUnknown(f"wordpress.org knows no WordPress {version} of the locale {locale}")
        return Release(version=version, locale=locale, files=files, asked=asked)

    async def plugin(self, slug: str, version: str, *, may_ask: bool = True, now: dt.datetime | None = None) -> bytes:
        """A release of a plugin as the agent takes it: `plugin SLUG VERSION`, then `SHA256[,SHA256…] PATH` lines.

        Only what is run is in it. Without `may_ask` no more than what is known already is told. Raises
        ChecksumsUnknown: also for whatever is not from wordpress.org.
        """
        if not _SLUG.fullmatch(slug) or slug.endswith(".php") or not _PLUGIN_VERSION.fullmatch(version):
            raise ChecksumsUnknown(f"{visible(slug, 100)} {visible(version, 40)} is no release of wordpress.org")
        async with self._asking:
            key = f"plugin:{slug}:{version}"
            ask = functools.partial(self._ask_plugin, slug, version) if may_ask else _no_time
            files, _ = await self._known(key, ask, now or dt.datetime.now(dt.UTC))
        if files is None:
            raise ChecksumsUnknown(f"wordpress.org knows no {slug} {version}")
        lines = [f"plugin {slug} {version}", *(f"{hashes} {path}" for path, hashes in sorted(files.items()))]
        return "\n".join(lines).encode() + b"\n"

    async def _known(
        self, key: str, ask: Callable[[], Awaitable[dict[str, str] | None]], now: dt.datetime
    ) -> tuple[dict[str, str] | None, dt.datetime]:
        """The files and when they were asked for; an older answer stands in. Raises ChecksumsUnknown."""
        kept = await self._recall(key)
        if kept is None or now - kept[1] >= (REFUSAL_KEPT if kept[0] is None else KEPT):
            try:
                kept = await ask(), now
                await self._remember(key, *kept)
            except ChecksumsUnknown:
                if kept is None or kept[0] is None:
                    raise
        return kept

    async def _recall(self, key: str) -> tuple[dict[str, str] | None, dt.datetime] | None:
        found = await self._cache.get(f"checksums:{key}")
        if found is None:
            return None
        try:
            return msgspec.json.decode(found[0], type=_Kept).files, found[1]
        except msgspec.DecodeError:
            return None

    async def _remember(self, key: str, files: dict[str, str] | None, now: dt.datetime) -> None:
        await self._cache.set(f"checksums:{key}", msgspec.json.encode(_Kept(files)).decode(), now)

    async def _ask(self, version: str, locale: str) -> dict[str, str] | None:
        """None: there is no such release. Raises ChecksumsUnknown."""
        url = f"{self._settings.api.rstrip('/')}/core/checksums/1.0/?version={version}&locale={locale}"
        try:
            body = await self._get(url)
        except _NotThere:
            raise ChecksumsUnknown(f"{endpoint(url).where} answers status 404") from None
        try:
            told = msgspec.json.decode(body, type=_Answer).checksums
        except (msgspec.DecodeError, RecursionError) as error:
            raise ChecksumsUnknown(f"wordpress.org's answer does not fit: {visible(str(error), 120)}") from None
        if told is False:
            return None
        if told is True or not 1 <= len(told) <= FILES_MOST or _SURE not in told:
            raise ChecksumsUnknown("wordpress.org's answer is no list of WordPress's files")
        return {path: md5 for path, md5 in told.items() if not path.startswith("wp-content/")}

    async def _ask_plugin(self, slug: str, version: str) -> dict[str, str] | None:
        """Path and hashes, joined by commas; None: there is no such release. Raises ChecksumsUnknown."""
        url = f"{self._settings.downloads.rstrip('/')}/plugin-checksums/{quote(slug)}/{quote(version)}.json"
        try:
            told = msgspec.json.decode(await self._get(url, PLUGIN_LIMIT), type=_PluginAnswer)
        except _NotThere:
            return None
        except (msgspec.DecodeError, RecursionError) as error:
            raise ChecksumsUnknown(f"wordpress.org's answer does not fit: {visible(str(error), 120)}") from None
        if (told.plugin, told.version) != (slug, version):
            raise ChecksumsUnknown("wordpress.org's answer is of another plugin")
        return {
            path: one.sha256 if isinstance(one.sha256, str) else ",".join(one.sha256)
            for path, one in told.files.items()
            if _RUN.search(path) and _PATH.fullmatch(path)
        }

    async def _get(self, url: str, most: int = ANSWER_LIMIT) -> bytes:
        """Raises ChecksumsUnknown, and _NotThere for a status 404."""
        try:
            return await asking.get(url, most=most, timeout=self._timeout, ca_file=self._settings.ca_file)
        except asking.Unanswered as unanswered:
            if unanswered.status == 404:
                raise _NotThere from None
            raise ChecksumsUnknown(str(unanswered)) from None


async def _no_time() -> dict[str, str] | None:
    raise ChecksumsUnknown("wordpress.org was slow, and was not asked for it yet")
