"""The month's updates over the fleet: item by item, what is decided about each, and how far the waves are."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import OptionList, Static

from app.actions import Place, bindings, keys
from app.monthly import Monthly, Row
from app.operations.deciding import Item, standing
from app.operations.month import Fate, Waves
from app.screens.choice import Choice
from backends.journal_updates import Verdict
from backends.records import Update
from widgets import words
from widgets.cells import Cell, Line, Tone, fit, folded, said
from widgets.language import mark, tr, tr_n
from widgets.paint import paint
from widgets.sentences import told

if TYPE_CHECKING:
    from app.operations.deciding import Decided
    from backends.journal_updates import Decision

VERDICTS = {Verdict.APPROVED: mark("approved"), Verdict.SKIPPED: mark("skipped"), Verdict.HALTED: mark("halted")}
GLYPHS = {Verdict.APPROVED: "✔", Verdict.SKIPPED: "–", Verdict.HALTED: "✖"}
FATES = {Fate.DONE: Cell("✔ ", Tone.GOOD), Fate.FAILED: Cell("✖ ", Tone.BAD)}
ABOUT_MOST = 8
"""Lines about one item, and as many about the waves: the list keeps the rest of the screen."""


class Hand(NamedTuple):
    """What the keys do, beside the screen."""

    decide: Callable[[Row, str], None]
    send: Callable[[], None]
    """Sends out the waves, or stops them."""


class Month(Choice[Row]):
    """`enter` shows and hides the sites of an item; what is decided there is about that site alone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.MONTH),
        Binding("enter", "unfold", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    Month {
        & > #box { width: 96%; max-width: 140; height: 94%; max-height: 94%; }
        & OptionList { height: 1fr; max-height: 100%; scrollbar-size-vertical: 1; }
        & #head { height: auto; margin-top: 1; }
        & #about { height: auto; max-height: 8; margin-top: 1; scrollbar-size-vertical: 1; }
        & #about > Static { height: auto; }
    }
    """

    def __init__(self, monthly: Monthly, hand: Hand, now: Callable[[], dt.datetime], *, read_only: bool) -> None:
        offered = keys(("approve", "skip", "hold", "let_go", "waves"), read_only=read_only)
        super().__init__(tr("The month's updates"), offered)
        self._monthly, self._hand, self._now = monthly, hand, now
        self._lines: list[str] = []
        self._open: set[tuple[str, str, str | None]] = set()

    def body(self) -> Iterable[Widget]:
        yield Static(id="head")
        yield OptionList(markup=False)
        yield VerticalScroll(Static(id="lines"), id="about", can_focus=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.renew()

    def on_resize(self) -> None:
        self.call_after_refresh(self.renew)

    @property
    def row(self) -> Row | None:
        """What is under the cursor."""
        at = self.query_one(OptionList).highlighted
        return self.offered[at] if at is not None and at < len(self.offered) else None

    def act(self, action: str) -> bool:
        if action in {"approve", "skip", "hold", "let_go"}:
            if self.row is not None:
                self._hand.decide(self.row, action)
            return True
        if action == "waves":
            self._hand.send()
            return True
        return super().act(action)

    def action_unfold(self) -> None:
        if self.row is not None:
            item = self.row.item
            self._open ^= {(item.kind, item.slug, item.to)}
            self.renew()

    def choose(self, event: OptionList.OptionSelected) -> None:
        """A click on a row is only a choice of what the keys are about."""
        event.stop()

    @on(OptionList.OptionHighlighted)
    def _tell(self) -> None:
        self._draw_about()

    def renew(self) -> None:
        """Show what is known now; the cursor stays on its row."""
        if not self.is_built:
            return
        before, items = self.row, self._monthly.items()
        rows = [row for item in items for row in self._rows(item)]
        width = self.query_one(OptionList).scrollable_content_region.width or 80
        lines = [_line(row, width, self._monthly.known) for row in rows]
        if lines != self._lines:
            self._lines = lines
            self.offer(rows, lines)
        if before is not None and before.key in [row.key for row in rows]:
            self.query_one(OptionList).highlighted = [row.key for row in rows].index(before.key)
        head = self.query_one("#head", Static)
        head.update(paint(head, self._head(items)))
        self._draw_about()

    def _rows(self, item: Item) -> Iterable[Row]:
        yield Row(item)
        if (item.kind, item.slug, item.to) in self._open:
            yield from (Row(item, site) for site in item.sites)

    def _head(self, items: Sequence[Item]) -> list[Line]:
        if not items:
            return [(Cell(tr("Nothing is pending on any site that is known"), Tone.DIM),)]
        counts = Counter(one.decision.verdict for one in items if one.decision is not None)
        parts = [tr_n("{n} update", "{n} updates", len(items))]
        parts += [f"{GLYPHS[verdict]} {tr(VERDICTS[verdict])} {count}" for verdict, count in counts.items()]
        unknown = self._monthly.unknown
        parts += [tr_n("of {n} site nothing is known", "of {n} sites nothing is known", unknown)] if unknown else []
        return [(Cell(" · ".join(parts)),), *self._waves()]

    def _waves(self) -> list[Line]:
        progress = self._monthly.progress
        if progress is None or not progress.waves:
            return []
        told_ = [(Cell(f"  {told(self._monthly.said)}"),)] if self._monthly.said else []
        return [_waves_line(progress, running=self._monthly.running), *told_]

    def _draw_about(self) -> None:
        width = self.query_one("#about").scrollable_content_region.width or 80
        lines = self._about(self.row) if self.row is not None else []
        shown = self.query_one("#lines", Static)
        shown.update(paint(shown, folded([*lines, *self._failures()], width)))

    def _about(self, row: Row) -> list[Line]:
        item = row.item
        where = ", ".join(said(site, 60) for site in item.sites[:20])
        more = f" … +{len(item.sites) - 20}" if len(item.sites) > 20 else ""
        lines: list[Line] = [(Cell(f"{said(item.name or item.slug, 60)}: ", Tone.STRONG), Cell(where + more))]
        if item.security:
            lines.append((Cell(f"! {tr('security')}", Tone.WARN),))
        found = standing(self._monthly.known, row.site or "", _update(item))
        if found is not None:
            age = words.ago(found.at, self._now())
            by = tr("{verdict} by {who}, {age}", verdict=tr(VERDICTS[found.verdict]), who=said(found.who, 60), age=age)
            note = f": {told(found.note)}" if found.note else ""
            lines.append((Cell(f"{GLYPHS[found.verdict]} ", _tone(found)), Cell(f"{by}{note}")))
        for site, why in self._monthly.held(item):
            if row.site in {None, site}:
                lines.append((Cell("! ", Tone.WARN), Cell(f"{said(site, 60)}: {tr('held: {why}', why=told(why))}")))
        return lines[:ABOUT_MOST]

    def _failures(self) -> list[Line]:
        """The sites whose turn did not end well, and those on which something was put back."""
        progress = self._monthly.progress
        through = progress.through if progress is not None else {}
        bad = [(name, one) for name, one in through.items() if one.fate is not Fate.DONE or "put back: " in one.why]
        return [(FATES[one.fate], Cell(f"{said(name, 60)}  {told(one.why)}")) for name, one in bad[-ABOUT_MOST:]]

    @property
    def plain(self) -> str:
        return "\n".join(self._lines)


def _waves_line(progress: Waves, *, running: bool) -> Line:
    cells = []
    for number, wave in enumerate(progress.waves):
        done = sum(name in progress.through for name in wave)
        glyph = "✔" if done == len(wave) else "↻" if running and number == progress.wave else "·"
        cells.append(Cell(f"{glyph} {tr('wave {number}', number=number + 1)} {done}/{len(wave)}   "))
    return tuple(cells)


def _line(row: Row, width: int, decided: Decided) -> str:
    item = row.item
    found = standing(decided, row.site or "", _update(item))
    verdict = f"{GLYPHS[found.verdict]} {tr(VERDICTS[found.verdict])}" if found else f"? {tr('undecided')}"
    if row.site is not None:
        held = f"  ! {tr('held')}" if row.site in item.held else ""
        return f"      {fit(said(row.site, 100), max(20, width - 40))} {verdict}{held}"
    change = f"{said(', '.join(item.from_[:2]), 24) or '?'} → {said(item.to, 20) or '?'}"
    sites = tr_n("{n} site", "{n} sites", len(item.sites))
    name = fit(f"{'!' if item.security else ' '} {said(item.name or item.slug, 60)}", max(18, width - 56))
    return f"{name} {fit(change, 20)} {fit(sites, 10)} {verdict}"


def _tone(decision: Decision) -> Tone:
    return {Verdict.APPROVED: Tone.GOOD, Verdict.SKIPPED: Tone.DIM, Verdict.HALTED: Tone.BAD}[decision.verdict]


def _update(item: Item) -> Update:
    return Update(kind=item.kind, slug=item.slug, to=item.to)
