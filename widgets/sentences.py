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
    mark("its server cannot be asked: {why}"),
    mark("WordPress does not start: {why}"),
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
    mark("Bring “{title}” back to {site} from {generation} ({age} days ago)?"),
    mark("Bring “{title}” back to {site} from {generation} ({age} h ago)?"),
    mark("Bring “{title}” back to {site} from {generation} ({age} min ago)?"),
    mark("Replaced: “{title}” ({status}), as it is now."),
    mark("Other bytes stand in the place of {count} of its files: they are put aside."),
    mark("Comes back: its text and fields, {what}."),
    mark("Comes back: its text and fields."),
    mark("Made again: {terms}"),
    mark("Its comments that are there stay: {count}."),
    mark("Everything else on the site stays as it is."),
    mark("its author is gone: it becomes {user}'s"),
    mark("its author is gone, and no administrator was found: nobody is its author"),
    mark("the page above it (ID {id}) is gone: it stands by itself until that one is back"),
    mark('its address is another post\'s now: it comes back as "{name}"'),
    mark("in this generation it is not published: {status}"),
    mark("its featured image is gone, and the ID {id} is another one's now"),
    mark("{count} files of its attachments are not in the generation: {names}"),
    mark("of this network only the main site's posts can be brought back alone"),
    mark("a trigger of the site acts on what is written: {tables}"),
    mark("no clean generation of {site} holds a post {id}"),
    mark("no clean generation of {site} holds the post {id} as published"),
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
    mark("{posts} post or page"),
    mark("{files} file"),
    mark("{comments} comment"),
    mark("{users} user"),
    mark("{orders} order"),
    mark("{entries} form entry"),
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
    # another site, and a database whose wp-config.php is lost
    mark("Restore {source} of {generation} ({age} days ago) to {target}?"),
    mark("Restore {source} of {generation} ({age} h ago) to {target}?"),
    mark("Restore {source} of {generation} ({age} min ago) to {target}?"),
    mark("All files and the whole database of {target} are replaced by those of {source}."),
    mark("{target} holds now, and loses: {what}."),
    mark("The users of {source}, with their passwords, become those of {target}; nobody stays logged in."),
    mark("{source} is only read. {target} keeps its wp-config.php, its generations and its address."),
    mark("What is overwritten is kept on {target}'s server: undo brings it back."),
    mark("the two sites keep content, plugins or uploads in different places"),
    mark("lay this site out as the other one is, or choose another"),
    mark("the generation is of a network of sites"),
    mark("restore it to its own place"),
    mark("wp-config.php is gone"),
    mark("its database opens with the generation's"),
    mark("its database opens with the credentials given"),
    mark("the live wp-config.php does not lead to the database"),
    mark("the generation's opens it"),
    mark("the credentials given open it"),
    mark("they are written into the restored one"),
    mark("the generation's wp-config.php no longer opens the database: it gets the live one's credentials"),
    mark("wp-config.php is gone, and the generation's no longer opens the database: {why}"),
    mark("give them as the host's panel has them: [server.database] in the site's file, or at the prompt"),
    mark("the database's {field} is not a line of at most 500 characters"),
    mark("the generation's wp-config.php takes {constant} from elsewhere: credentials cannot be written into it"),
    mark("core is not compared with wordpress.org's checksums: {why}"),
    mark("core was not compared with wordpress.org's checksums: {why}"),
    mark("wordpress.org knows no WordPress {version} of the locale {locale}"),
    mark("it does not say which WordPress it is"),
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
    mark("WordPress asks to be installed"),
    # app/operations/diff.py, backends/agent/diff.php, posts.php
    mark("This generation is suspect: what harmed the site may be in both, and is not shown then."),
    mark("Part of this generation is damaged."),
    mark("compare with another one"),
    mark("compare with a clean one too"),
    mark("only files are compared: {why}"),
    mark("the database is not compared, or not all of it: {why}"),
    mark("posts are not compared: {why}"),
    mark("the table {table} cannot be read: {why}"),
    mark("{n} files could not be read and are not compared, the first is {path}"),
    mark("an operation works on this site: what is shown may be half of what it does"),
    mark("look again when it has ended"),
    mark("the document root {root} does not exist on the server"),
    mark("there is no WordPress in {root}"),
    mark("there is no wp-config.php in {root} or above it"),
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
    # backends/ssh: what could not be reached, trusted or logged in to
    mark("{account}: cannot connect ({why})"),
    mark("{account}: no connection within {seconds} s"),
    mark("{account}: SSH did not answer within {seconds} s"),
    mark("{account}: the server hung up before the login"),
    mark("{account}: no SSH connection ({why})"),
    mark("{account}: the jump host cannot reach it ({why})"),
    mark("{account}: the connection was lost"),
    mark("{account}: the connection was lost before the command's end"),
    mark("{account}: the server starts no command ({why})"),
    mark("{account}: no command started within {seconds} s"),
    mark("{account}: busy with other commands for {seconds} s"),
    mark("{account}: the server refused the password"),
    mark("{account}: the server refused the agent's keys"),
    mark("{account}: the server refused the key {key}"),
    mark("{account}: the server refused ({why})"),
    mark("{account}: unknown host key {key}"),
    mark("{account}: the host key has changed: pinned {pinned}, shown {shown}"),
    mark("{account}: host_key is not a public key"),
    mark("{account}: no key is configured and no SSH agent runs"),
    mark("{account}: key {key} has a passphrase and no SSH agent runs"),
    mark("{account}: the SSH agent does not answer ({why})"),
    mark("{account}: the SSH agent does not hold the key"),
    mark("{account}: password_command {program} did not end within 30 s"),
    mark("{account}: password_command {program} printed nothing"),
    mark("{account}: password_command {program} ended with status {status}"),
    mark("{account}: password_command {program}: {why}"),
    mark("jump host of {account}: {why}"),
    mark("key {file}: no such file"),
    mark("key {file}: not a private key"),
    mark("key {file}: it is protected by a passphrase"),
    mark("key {file}: the passphrase does not open it"),
    mark("key {file}: {why}"),
    mark("next try in {seconds} s"),
    mark("connection refused"),
    mark("no address is known for this name"),
    mark("no route to host"),
    mark(
        "likely causes: SSH is off in the host's panel, the host admits only domestic addresses, or "
        "another port (Xserver 10022, Lolipop 2222)"
    ),
    mark(
        "is this the SSH port? likely causes: SSH is off in the host's panel, the host admits only "
        "domestic addresses, or another port (Xserver 10022, Lolipop 2222)"
    ),
    mark(
        "nothing was sent; ask the host whether the server was moved or renewed; only then accept the "
        "new key (modoseru site test)"
    ),
    mark("compare it with the fingerprint that the host publishes, then accept it (modoseru site test)"),
    mark("is the public key registered with this account, is the user name right, is SSH enabled in the panel?"),
    mark("the agent holds too many keys: name the right one as ssh.key in the site's file"),
    mark("ssh.key in the site's file"),
    mark("the file without .pub is the private one"),
    mark("load it in the SSH agent: ssh-add {file}"),
    mark("ssh-add, or name a key file as ssh.key"),
    mark("it looks like: ssh-ed25519 AAAA… (modoseru site test)"),
    mark("it is a list of words, run without a shell"),
    mark("it must not ask questions"),
    mark("its first line of output is the password"),
    mark("the server may be overloaded; try again later"),
    mark("wait for the operations on this account, or cancel one"),
    mark("the account may have no shell, or too many sessions are open"),
    mark("the line or the server"),
    # backends/agent: what the site's server refuses
    mark("{php} does not run on {host}: {why}"),
    mark("the agent gave no answer on {host} (exit status {status}): {why}"),
    mark("it printed nothing"),
    mark("set [server] php to the full path of the PHP that the site uses"),
    mark("set [server] php to the PHP that the site uses, and try modoseru site test"),
    mark("cannot make the folder {path}: {why}"),
    mark("cannot write the agent to {path}: {why}"),
    mark("the agent cannot be installed below {path}"),
    mark("cannot write {path}: {why}"),
    mark("cannot keep {path} on the disk: {why}"),
    mark("Permission denied"),
    mark("No space left on device"),
    mark("the disk or the quota is full"),
    mark("Only {written} of {bytes} bytes written, possibly out of free disk space"),
    mark("make the home folder writable, or set [server] state"),
    mark("make the home folder writable and free some space, or set [server] state"),
    mark("free some space in the account, make the home folder writable, or set [server] state"),
    mark("free some space in the account"),
    mark("look at the permissions and the quota"),
    mark("look at the disk"),
    mark("look at the disk and its permissions"),
    mark("{need} are needed and the server has {free} free"),
    mark("{need} are needed and the quota of {quota} has {free} left"),
    mark("the account may hold {most} files and would hold {files}"),
    mark("free some space in the account, or keep fewer generations"),
    mark("remove some files"),
    mark("the document root {path} does not exist on the server"),
    mark("there is no WordPress in {path}"),
    mark("there is no wp-config.php in {path} or above it"),
    mark("correct [server] root in the site's file, or restore a generation"),
    mark("correct [server] root, or restore a generation"),
    mark("restore the files of a generation"),
    mark("the database does not let us in: {why}"),
    mark("WordPress ended the request by itself"),
    mark("there is no generation {generation} on the server"),
    mark("{site} has no generation {generation}"),
    mark("see modoseru generations {site}"),
    mark("restore a generation: modoseru generations {site}"),
    mark("another process works on this site"),
    mark("try again in a moment"),
    mark("{kind} is running on this site"),
    mark("let its server reach api.wordpress.org"),
    mark("restore it first"),
    mark("no update of {slugs} is offered to {site}"),
    mark("see modoseru updates"),
    # backends/journal: the operator's own machine
    mark("journal {file}: another process holds it"),
    mark("journal {file}: is damaged"),
    mark("journal {file}: is not a journal"),
    mark("journal {file}: the disk is full"),
    mark("journal {file}: cannot be written"),
    mark("journal {file}: cannot be opened"),
    mark("wait for that process, or end it"),
    mark("set the file aside (mv): state is looked up anew; only history and seals of this machine are lost"),
    mark("free some space; nothing that was kept before is lost"),
    mark("check its permissions and its folder's"),
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
def _told(text: str, with_comma: bool = False) -> str:
    """`text` by the first sentence that it is; `with_comma`: by one that has a comma of its own."""
    for pattern, template in _patterns():
        if (", " in template or not with_comma) and (match := pattern.fullmatch(text)):
            return tr(template, **{name: _listed(value) for name, value in match.groupdict().items()})
    return text


def _listed(value: str) -> str:
    """A field may be a sentence, or several with commas between them."""
    whole = _told(value, with_comma=True)
    return whole if whole != value else ", ".join(_told(part) for part in value.split(", "))


@lru_cache(1)
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each sentence as a pattern: those without a field first, and last those whose first field could be a sentence."""
    exact_first = sorted(_SENTENCES, key=lambda sentence: ("{" in sentence, sentence.startswith("{")))
    return tuple((re.compile(_pattern(sentence), re.DOTALL), sentence) for sentence in exact_first)


def _pattern(sentence: str) -> str:
    parts = re.split(r"\{(\w+)\}", sentence)
    return "".join(f"(?P<{part}>.+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
