"""Everything that a key can do, declared once: keys, footer, palette, help and read-only mode are made from this."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from textual.binding import Binding

from widgets.key_line import Key
from widgets.language import mark, tr


class Place(StrEnum):
    """Where an action works."""

    SITE = "site"
    """Where one site is under the cursor: the fleet and the site's own screen."""
    FLEET = "fleet"
    MOVE = "move"
    """In every list and text."""
    BACK = "back"
    """Everywhere but where there is nothing to go back to."""
    MONTH = "month"
    """In the view of the month's updates."""
    PROGRAM = "program"


class May(StrEnum):
    """Who may: in read-only mode only what anyone may do is bound."""

    ANYONE = "anyone"
    OPERATOR = "operator"


class Action(Struct, frozen=True):
    id: str
    keys: str
    """As Textual names them, separated by commas; the first is the one that is shown."""
    title: str
    """The footer's word."""
    says: str
    """The sentence of help and palette."""
    place: Place
    may: May = May.ANYONE
    danger: bool = False
    """It overwrites something on a site, so a prompt stands before it."""
    shown: str | None = None
    """How the key is written, where it is not its name."""

    @property
    def key(self) -> str:
        return self.shown or self.keys.split(",", maxsplit=1)[0]


OPERATOR = May.OPERATOR
ACTIONS = (
    Action("open", "enter", mark("open"), mark("Everything about the site"), Place.SITE),
    Action(
        "restore", "R", mark("restore"), mark("Restore the newest complete generation"),
        Place.SITE, OPERATOR, danger=True,
    ),
    Action(
        "choose", "r", mark("choose…"), mark("Choose the generation to restore"),
        Place.SITE, OPERATOR, danger=True,
    ),
    Action(
        "post", "p", mark("post…"), mark("Bring one post or page back"), Place.SITE, OPERATOR, danger=True,
    ),
    Action(
        "move", "m", mark("to…"), mark("Make another site of the fleet what this one was"),
        Place.SITE, OPERATOR, danger=True,
    ),
    Action("undo", "U", mark("undo"), mark("Take the last restore or update back"), Place.SITE, OPERATOR, danger=True),
    Action("update", "u", mark("update"), mark("Choose updates and apply them"), Place.SITE, OPERATOR, danger=True),
    Action("backup", "b", mark("back up"), mark("Make a generation now"), Place.SITE, OPERATOR),
    Action("vault", "V", mark("to the vault"), mark("Copy the newest clean generation off-site"), Place.SITE, OPERATOR),
    Action("drill", "d", mark("drill"), mark("Rehearse a restore beside the site"), Place.SITE, OPERATOR),
    Action(
        "off_site", "o", mark("off-site drill"), mark("Rehearse a restore out of the vault"), Place.SITE, OPERATOR,
    ),
    Action(
        "isolate", "x", mark("isolate"), mark("Close the site to the world, or open it again"),
        Place.SITE, OPERATOR, danger=True,
    ),
    Action("verify", "v", mark("verify"), mark("Read the newest generation back"), Place.SITE, OPERATOR),
    Action("diff", "w", mark("what changed"), mark("Compare the site with its newest clean generation"), Place.SITE),
    Action("check", "c", mark("check"), mark("Look at the site now"), Place.SITE),
    Action("log", "l", mark("log"), mark("What the site's last operation did"), Place.SITE),
    Action("cancel", "C", mark("cancel"), mark("Cancel the operation that runs on the site"), Place.SITE, OPERATOR),
    Action("copy", "y", mark("copy"), mark("Copy what is shown"), Place.SITE),
    Action("filter", "slash", mark("filter"), mark("Show only some sites"), Place.FLEET, shown="/"),
    Action("sort", "s", mark("sort"), mark("Order the list by the next column"), Place.FLEET),
    Action("problem", "n", mark("problem"), mark("Go to the next site that is not well"), Place.FLEET),
    Action("refresh", "f5,ctrl+r", mark("look at all"), mark("Look at every site now"), Place.FLEET),
    Action("month", "M", mark("the month"), mark("The month's updates: approve, and send out in waves"), Place.FLEET),
    Action("dismiss", "D", mark("dismiss"), mark("Dismiss the operations that have ended"), Place.FLEET),
    Action("down", "j,down", mark("down one"), mark("Down"), Place.MOVE, shown="j ↓"),
    Action("up", "k,up", mark("up one"), mark("Up"), Place.MOVE, shown="k ↑"),
    Action("page_down", "pagedown,ctrl+d,ctrl+f", mark("page down"), mark("A page down"), Place.MOVE, shown="PgDn"),
    Action("page_up", "pageup,ctrl+u,ctrl+b", mark("page up"), mark("A page up"), Place.MOVE, shown="PgUp"),
    Action("top", "g,home", mark("top"), mark("To the top"), Place.MOVE),
    Action("bottom", "G,end", mark("bottom"), mark("To the bottom"), Place.MOVE),
    Action("approve", "a", mark("approve"), mark("Let this version go out"), Place.MONTH, OPERATOR),
    Action("skip", "s", mark("skip"), mark("Leave this version out"), Place.MONTH, OPERATOR),
    Action("hold", "h", mark("hold"), mark("Hold every version"), Place.MONTH, OPERATOR),
    Action("let_go", "l", mark("let go"), mark("Take back what was decided, or why it is held"), Place.MONTH, OPERATOR),
    Action(
        "waves", "w", mark("waves"), mark("Send out what is approved; again, stop"), Place.MONTH, OPERATOR, danger=True,
    ),
    Action("back", "escape", mark("back"), mark("Back; never quits"), Place.BACK, shown="esc"),
    Action("help", "question_mark", mark("help"), mark("All keys"), Place.PROGRAM, shown="?"),
    Action("palette", "ctrl+p,colon", mark("palette"), mark("Find an action or a site"), Place.PROGRAM, shown=":"),
    Action("theme", "T", mark("theme"), mark("Dark, light, the terminal's own colours"), Place.PROGRAM),
    Action("quit", "q", mark("quit"), mark("Quit; operations go on on their servers"), Place.PROGRAM),
)  # fmt: skip
BY_ID = {action.id: action for action in ACTIONS}
GROUPS = (
    (mark("On a site"), Place.SITE),
    (mark("On the fleet"), Place.FLEET),
    (mark("The month's updates"), Place.MONTH),
    (mark("Moving"), Place.MOVE),
    (mark("The program"), Place.PROGRAM),
)


def allowed(action: Action, *, read_only: bool) -> bool:
    return action.may is May.ANYONE or not read_only


def bindings(*places: Place) -> list[Binding]:
    """The keys of these places. Each goes through `Dashboard.action_perform`, which knows who may."""
    return [
        Binding(action.keys, f"app.perform('{action.id}')", id=action.id, show=False)
        for action in ACTIONS
        if action.place in places
    ]


def keys(ids: tuple[str, ...], *, read_only: bool) -> list[Key]:
    """The footer's keys for these actions, without those that may not be done."""
    chosen = [BY_ID[id_] for id_ in ids]
    return [Key(action.id, action.key, tr(action.title)) for action in chosen if allowed(action, read_only=read_only)]


def key(id_: str) -> Key:
    action = BY_ID[id_]
    return Key(action.id, action.key, tr(action.title))
