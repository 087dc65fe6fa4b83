"""The sentences that come from below (verdicts, plans, probes, the guard), said in the operator's language.

They are English where they are made, and stay so in journals and JSON. Each is listed here once, with `{fields}` where
it varies; what is not listed is shown in English.
"""

from __future__ import annotations

import re
from functools import lru_cache

from widgets import language
from widgets.cells import said
from widgets.language import mark, tr

_SENTENCES = (
    # app/readiness.py
    mark("its server was never reached"),
    mark("its server does not answer: {why}"),
    mark("it was never backed up"),
    mark("every generation is damaged"),
    mark("never rehearsed: no drill has restored it yet"),
    mark("the last drill failed: {why}"),
    mark("the last drill is {days} days old (promised: every {every})"),
    mark("the generation that was rehearsed is gone: {generation}"),
    mark("the newest clean generation is {days} days old (promised: every {every})"),
    mark("no generation is clean: each is suspect"),
    mark("{bad} of {all} generations are suspect"),
    mark("{bad} of {all} generations are damaged"),
    mark("a generation is not the one that was sealed"),
    mark("a generation is gone: {generation}"),
    mark("{n} generations are gone: {newest} and older"),
    mark("every generation lies on the site's own server"),
    mark("nobody is named to restore it"),
    mark("not looked at yet"),
    # app/operations: questions, what goes, what stays
    mark("Restore {site} to {generation} ({age} days ago)?"),
    mark("Restore {site} to {generation} ({age} h ago)?"),
    mark("All files and the whole database are replaced."),
    mark("All files are replaced; the database stays."),
    mark("The whole database is replaced; the files stay."),
    mark("Newer than it, and gone: {what}."),
    mark("Nothing is newer than it."),
    mark("Newest: {titles}"),
    mark("What is overwritten is kept on the server: undo brings it back."),
    mark("Until the new state is whole and verified the site goes on serving."),
    mark("Undo the restore of {when} on {site}?"),
    mark("Undo the update of {when} on {site}?"),
    mark("Undo the undo of {when} on {site}?"),
    mark("What the site shows now is put aside."),
    mark("It is kept on the server: another undo brings it back."),
    mark("Update {chosen} of {offered} on {site}?"),
    mark("A generation is made first."),
    mark("Each that breaks a page is put back alone; undo takes all of them back."),
    mark("the front page “{title}” answers {status} in {seconds} s"),
    mark("the front page: {why}"),
    mark("nothing could be looked at"),
    mark("{posts} posts and pages"),
    mark("{files} files"),
    mark("{comments} comments"),
    mark("{users} users"),
    mark("{orders} orders"),
    mark("{entries} form entries"),
    mark("The database looks clean: restoring the files alone keeps all that."),
    mark("This generation is NOT the one that was sealed: somebody changed it after it was made."),
    mark("This generation is suspect: it does not look like a normal successor of the one before."),
    mark("Part of this generation is damaged: the restore stops before the switch if it needs that part."),
    # backends/agent/preflight.php
    mark("the document root {root} cannot be written by this account"),
    mark("{root} cannot be renamed, so its entries are switched one after the other"),
    mark("the restore needs {need} and {place} has {free} free"),
    mark("the restore needs {need} beside the site, and the quota is {most}"),
    mark("the account may hold {most} files, and the restore would make {more} beside the site's"),
    mark("the database accepts {most} in one piece, and the generation holds a value of {largest}"),
    mark("the database user may not {what} in {database}"),
    mark("the database does not know the {what} {name} that the generation uses"),
    mark("the collation {name} is not known here; {other} takes its place"),
    mark("the table {table}, which is not this site's, refers to {other} ({name})"),
    mark("the generation was made under PHP {then}, the command line has {now}"),
    mark("the database is of a newer WordPress than the generation's files"),
    mark("the generation's database is of a newer WordPress than the files here"),
    mark("what would be lost from the database is not known: {why}"),
    mark("the site is between two states until its database answers: {why}"),
    # drills
    mark("Rehearse the restore of {site} from {generation} ({age} days ago)?"),
    mark("Nothing live is touched: other files, other tables, no mail."),
    mark("restored beside the site"),
    mark("“{title}” starts"),
    mark("“{title}” starts and shows “{post}”"),
    mark("the front page"),
    mark("the newest post"),
    mark("{page} of the restored copy is empty"),
    mark("{page} of the restored copy is not whole"),
    mark("{page} of the restored copy answers {status}: {what}"),
    mark("{page} of the restored copy answers {status}"),
    mark("{page} of the restored copy sends its visitors elsewhere: {url}"),
    mark("the newest post of the generation is not on its page in the restored copy"),
    mark("WordPress does not start on the restored copy: {why}"),
    mark("what was staged does not read back: {path}"),
    # reading back
    mark("whole: every byte was read back"),
    mark("whole again: {what} healed"),
    mark("{path} is gone"),
    mark("{path} is longer than what was sealed"),
    mark("{path} is shorter than what was sealed"),
    mark("{path} has other bytes than what was sealed"),
    mark("{path} is not the summary that was sealed"),
    mark("no summary names {path}"),
    mark("{problem}, and {n} more"),
    # refusals
    mark("this program is read-only: no {kind}"),
    mark("start without --read-only"),
    mark("{site} cannot be restored: it was never backed up"),
    mark("{site} cannot be restored: no generation is known to be good"),
    mark("ask the host for its own backups (hosts.d)"),
    mark("nothing was restored or updated on {site} that could be undone"),
    mark("nothing is to be updated on {site}"),
    mark("{site} is failing already: {why}"),
    mark("bring it back first; an update could not be judged"),
    mark("{site} could not ask wordpress.org for updates"),
    mark("WordPress of {site} does not start: {why}"),
    # backends: pages, certificates, domains
    mark("unreachable: {why}"),
    mark("fatal error on the page: {what}"),
    mark("fatal error on the page"),
    mark("critical error on the page"),
    mark("database error on the page"),
    mark("maintenance page (status 503)"),
    mark("page ends without </html>"),
    mark("empty page"),
    mark("certificate refused: {why}"),
    mark("redirects to another host: {url}"),
    mark("expired: {date}"),
    mark("expired"),
    mark("expired intermediate: {date}"),
    mark("not yet valid: from {date}"),
    mark("wrong name: it is for {names}, not for {host}"),
    mark("wrong name"),
    mark("incomplete chain: its issuer {issuer} is neither sent nor trusted"),
    mark("incomplete chain"),
    mark("unknown issuer: {issuer}"),
    mark("self-signed"),
)


def told(sentence: str | None, limit: int = 500) -> str:
    """`sentence` made harmless and in the operator's language, where it is known; empty for None."""
    text = said(sentence, limit)
    if language.language() == "en":
        return text
    if text in _SENTENCES:
        return tr(text)
    return "; ".join(_told(part) for part in text.split("; "))


@lru_cache(2000)
def _told(text: str) -> str:
    for pattern, template in _patterns():
        if match := pattern.fullmatch(text):
            return tr(template, **{name: _listed(value) for name, value in match.groupdict().items()})
    return text


def _listed(value: str) -> str:
    """A field may be a sentence, or several with commas."""
    return ", ".join(_told(part) for part in value.split(", "))


@lru_cache(1)
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each sentence as a pattern; those without a field first, so that the exact one wins."""
    exact_first = sorted(_SENTENCES, key=lambda sentence: "{" in sentence)
    return tuple((re.compile(_pattern(sentence), re.DOTALL), sentence) for sentence in exact_first)


def _pattern(sentence: str) -> str:
    parts = re.split(r"\{(\w+)\}", sentence)
    return "".join(f"(?P<{part}>.+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
