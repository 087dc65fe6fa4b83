"""An inspection of a demo site: what its server decides, whatever the site's own state is. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Any

from app.demo.cast import Character
from app.demo.contents import TABLES
from backends.records import Inspection

DISK = 20_000_000_000
_NO_DUMP = "mysqldump is not on the PATH: the database is dumped through PHP"
_OLD_PHP = "the command line has PHP 7.4, which is past its end of life"


def describe(character: Character, at: dt.datetime, **seen: Any) -> Inspection:
    """An inspection of the character's site: the fields that its server decides, and what was `seen`."""
    home = f"https://{character.host}"
    plain = character.number % 3 == 1
    fields: dict[str, Any] = {
        "agent": "twin-1",
        "at": at,
        "php_cli": f"{character.php}.14",
        "php_web": f"{character.php}.14",
        "locale": "ja",
        "home": home,
        "siteurl": home,
        "database_engine": "mariadb",
        "database_version": character.database_version,
        "database_name": character.user,
        "prefix": "wp_",
        "tables": len(TABLES),
        "disk_free": DISK // 100 * (20 + character.number * 7 % 60),
        "disk_total": DISK,
        "missing": ((_NO_DUMP,) if plain else ()) + ((_OLD_PHP,) if character.php == "7.4" else ()),
    }
    return Inspection(**fields | seen)
