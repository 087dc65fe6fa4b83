"""Nothing on the screen is untranslated, and no translation is without its text."""

from __future__ import annotations

import ast
import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.operations import restore
from backends.records import Generation, GenerationState
from widgets import language
from widgets.language import choose, read_catalogue, tr, tr_n
from widgets.sentences import told

ROOT = Path(__file__).parents[2]
LOCALE = ROOT / "app" / "locale"
CATALOGUE = LOCALE / "ja" / "LC_MESSAGES" / "modoseru.po"
FIELD = re.compile(r"\{(\w+)\}")


@pytest.fixture
def japanese() -> Iterator[None]:
    language.use("ja", LOCALE)
    yield
    language.use("en", LOCALE)


def messages() -> dict[str, str]:
    """Every message id in the source, with where it stands."""
    found = {}
    for path in (*sorted((ROOT / "widgets").rglob("*.py")), *sorted((ROOT / "app").rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"tr", "tr_n", "mark"}
            ):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant):
                    found[str(first.value)] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_every_message_has_a_translation_and_every_translation_a_message() -> None:
    used, known = messages(), read_catalogue(CATALOGUE.read_text("utf-8"))
    assert {text: where for text, where in used.items() if text not in known} == {}
    assert sorted(set(known) - set(used)) == []


def test_a_translation_fills_the_same_fields() -> None:
    for text, forms in read_catalogue(CATALOGUE.read_text("utf-8")).items():
        for form in forms:
            assert set(FIELD.findall(form)) == set(FIELD.findall(text)), text


def test_the_catalogue_is_read_as_gettext_reads_it() -> None:
    text = '# comment\nmsgid ""\nmsgstr "Language: ja\\n"\n\nmsgid "a \\"b\\"\\n"\nmsgstr ""\n"あ"\n"い"\n\n'
    text += 'msgid "{n} day"\nmsgid_plural "{n} days"\nmsgstr[0] "{n}日"\n\nmsgid "empty"\nmsgstr ""\n'
    assert read_catalogue(text) == {'a "b"\n': ("あい",), "{n} day": ("{n}日",)}


@pytest.mark.parametrize("line", ["msgid unquoted", "rubbish", 'msgctxt "x"'])
def test_what_a_catalogue_cannot_hold_is_named_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        read_catalogue(f"# fine\n{line}\n")


def test_without_a_language_it_speaks_english() -> None:
    assert tr("Restore {site}", site="a") == "Restore a"
    assert (tr_n("{n} day", "{n} days", 1), tr_n("{n} day", "{n} days", 1200)) == ("1 day", "1,200 days")


def test_it_speaks_japanese(japanese: None) -> None:
    assert tr("proven") == "実証済み"
    assert tr_n("{n} day", "{n} days", 3) == "3日"


@pytest.mark.parametrize(
    ("setting", "environ", "spoken"),
    [
        ("ja", {"LANG": "en_US.UTF-8"}, "ja"),
        (None, {"LANG": "ja_JP.UTF-8"}, "ja"),
        (None, {"LC_ALL": "C", "LANG": "ja_JP.UTF-8"}, "en"),
        (None, {"LC_ALL": "", "LANG": "ja_JP.UTF-8"}, "ja"),
        (None, {"LANG": "fr_FR.UTF-8"}, "en"),
        (None, {}, "en"),
    ],
)
def test_the_language_is_the_setting_or_the_locale(setting: str | None, environ: dict[str, str], spoken: str) -> None:
    assert choose(setting, environ) == spoken


def test_sentences_from_below_are_translated(japanese: None) -> None:
    assert told("it was never backed up") == "一度もバックアップされていない"
    assert told("unreachable: connection refused; empty page") == "接続できない: 接続拒否; ページが白紙"
    assert (
        told("All files are replaced; the database stays.")
        == "全ファイルが置き換わります。データベースはそのままです。"
    )
    assert told("a.example cannot be restored: it was never backed up").startswith("a.example は復元できません")
    assert told("what nobody has foreseen") == "what nobody has foreseen"


def test_sentences_from_below_stay_as_they_are_in_english_and_are_harmless() -> None:
    assert told("its server cannot be asked: \x1b[2J{oops}") == "its server cannot be asked: \\x1b[2J{oops}"
    assert told(None) == ""


def test_a_sentence_within_a_sentence_is_translated_too(japanese: None) -> None:
    assert told("Newer than it, and gone: 1 post or page, 2 files.") == (
        "この世代より新しく、失われるもの: 投稿と固定ページ 1 件, ファイル 2 件"
    )


def test_what_a_drill_found_is_told_in_japanese(japanese: None) -> None:
    found = "the newest post of the generation is not on its page in the restored copy"
    assert told(f"the last drill failed: {found}") == (
        "最後の復元訓練が失敗: 世代の最新の投稿が、復元した複製のページに無い"
    )
    assert told("the last drill is 40 days old (promised: every 1mo)") == "最後の復元訓練は 40日前 (約束: 1mo ごと)"
    assert told("restored beside the site; “A” starts and shows “B”") == (
        "サイトの横に復元した; 「A」が起動し、「B」を表示する"
    )
    assert told("the front page of the restored copy answers 500: 一時停止") == (
        "復元した複製のトップページが 500 を返す: 一時停止"
    )


@pytest.mark.parametrize("age", [dt.timedelta(minutes=3), dt.timedelta(hours=30), dt.timedelta(days=9)])
@pytest.mark.parametrize("question", ["Restore a.example to {when}?", "Restore a.example of {when} to b.example?"])
def test_the_question_of_a_restore_is_asked_in_japanese_however_old_the_generation(
    question: str, age: dt.timedelta, japanese: None
) -> None:
    created = dt.datetime.now(dt.UTC) - age
    old = Generation(id=f"{created:%Y%m%dT%H%M%SZ}", created=created, state=GenerationState.COMPLETE)
    assert told(question.format(when=restore.when(old))).endswith("に復元しますか？")
