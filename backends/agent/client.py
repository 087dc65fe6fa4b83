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

A request has `protocol` (1), `marker` (random hex), `site`, `root`, `state`, `exclude`, `url`, and the verb's own
fields. An answer is any number of lines; those that begin with the marker and a space hold one JSON object each, all
others are noise (plugins echo, shells greet):

    {"event": {…}}      one event of an operation, as `backends.records.AnyEvent`; `line` counts from 0 without gaps
    {"reply": {…}}      the last line of success
    {"error": {"code", "message", "hint"}}     the last line of failure; nothing was changed unless an event says so

A connection that ends before the last line is cut, never "done".

| verb | request | reply |
|---|---|---|
| inspect | refresh: bool (asks wordpress.org anew) | an Inspection |
| generations | | {"generations": [Generation…]} newest first |
| operations | | {"operations": [{operation, kind, state, outcome, generation, started, detail}]} newest first;
                  state: `running`, `waiting` (for an answer), `orphaned` (its process died), `finished` |
| preview | generation, only | {"blockers", "warnings", "loss": {posts, comments, users, orders, files, newest}} |
| verify | generation | {"outcome": "ok|damaged", "checked_bytes", "problems": [{what, path}]}; Progress events first |
| snapshot | reason, keep, min_age_s | launches |
| restore | generation, only (`all`, `files`, `database` or a list of paths below the root) | launches |
| undo | operation (absent: the newest that can be undone) | launches |
| update | items: [{kind, slug}], generation | launches |
| answer | operation, number, keep, detail | {"state"} ; continues the operation where its process is gone |
| follow | operation, from | events from line `from` on, then {"state": "finished|waiting|orphaned"} |
| cancel | operation | {"asked": bool}; the operation's own Finished says whether it was cancelled |
| recover | | {"recovered": [{operation, outcome}]}; rolls what a dead process left behind back, or forward |
| page | token | {"page": "modoseru-TOKEN.php"}: one GET of it below the site's URL resets opcache, answers
                  {"modoseru": TOKEN, "php": "8.2.1", "opcache": bool} and removes it |

A verb that *launches* writes the request to `ops/ID/`, starts a process of its own there, replies
{"operation": ID, "detached": bool}, then behaves as `follow` from line 0. Operation ids are `20261123T021500Z-KIND-HEX6`.
Launching on a site whose lock is held gives the error `busy` (its `hint` names the running operation); one that waits
for an answer gives `waiting`. What a dead process left behind is recovered first, by itself.

`Asked(number, subject="look", token)` means: the switch (or one update) is made; look from outside, then `answer`.
While its process lives it holds the lock and waits; later, any client may answer.

Error codes: bad_request, protocol, busy, waiting, no_state (home not writable), no_root, no_wordpress, no_config,
no_database, no_generation, no_operation, nothing_to_undo, no_space, damaged, no_detach, internal.
"""
