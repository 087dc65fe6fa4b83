"""Who lives in the demo: the sites of a small Japanese web agency, each with its own trouble. Data, no I/O."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

NEWEST_WORDPRESS = "7.1.1"
PEOPLE = (
    ("佐藤 美咲", "Misaki Sato", "03-5555-0101"),
    ("高橋 健", "Ken Takahashi", "03-5555-0102"),
    ("鈴木 直子", "Naoko Suzuki", "03-5555-0103"),
)


class Condition(StrEnum):
    """What a visitor gets when the demo opens."""

    WELL = "well"
    HACKED = "hacked"
    FATAL = "fatal"
    """A plugin throws on every page."""
    DATABASE = "database"
    REFUSED = "refused"
    """Nothing listens on the web server's port."""
    SLOW = "slow"


class CertificateKind(StrEnum):
    FINE = "fine"
    EXPIRED = "expired"
    WRONG_NAME = "wrong name"


class PluginPart(Struct, frozen=True):
    """A plugin of a site; `to` is the version that waits, `fault` what that version does to the site."""

    slug: str
    name: str
    version: str
    to: str | None = None
    fault: str | None = None
    """`fatal` or `white`."""


class Character(Struct, frozen=True, kw_only=True):
    """One site of the demo, as it stands when the demo opens."""

    name: str
    host: str
    title_ja: str
    title_en: str
    user: str
    root: str = "~/public_html"
    number: int = 0
    """Position in the cast: makes every site's texts and times its own."""
    condition: Condition = Condition.WELL
    hours_ago: float = 30.0
    """When the trouble began."""
    certificate: CertificateKind = CertificateKind.FINE
    certificate_days: float = 61.0
    domain_days: int | None = 204
    """None: the registry publishes no date."""
    generations: int = 8
    newest_days: float = 3.2
    drilled_days: float | None = None
    """When the last drill was; None: never."""
    drill_failed: bool = False
    suspect: int | None = None
    """Which generation, counted from the newest, does not look like a normal successor."""
    ssh: bool = True
    read_only: bool = False
    owner: int = 0
    cover: str = "included"
    tags: tuple[str, ...] = ()
    php: str = "8.3"
    wordpress: str = NEWEST_WORDPRESS
    database_version: str = "10.11.14-MariaDB"
    plugins: tuple[PluginPart, ...] = ()
    shop: bool = False
    posts: int = 24

    def title(self, language: str) -> str:
        return self.title_ja if language == "ja" else self.title_en

    @property
    def php_word(self) -> str:
        return f"/usr/bin/php{self.php}"

    @property
    def domain(self) -> str:
        return self.host.removeprefix("www.")


MULTIBYTE = PluginPart("wp-multibyte-patch", "WP Multibyte Patch", "2.9.3")
AKISMET = PluginPart("akismet", "Akismet Anti-spam", "5.7.2")
AKISMET_OLD = PluginPart("akismet", "Akismet Anti-spam", "5.4", "5.7.2")
FORM = PluginPart("contact-form-7", "Contact Form 7", "6.1.4")
FORM_OLD = PluginPart("contact-form-7", "Contact Form 7", "6.0.3", "6.1.4")
SEO_OLD = PluginPart("wordpress-seo", "Yoast SEO", "26.1", "26.6")
SHOP = PluginPart("woocommerce", "WooCommerce", "10.3.5")
BOOKING = PluginPart("reservation-calendar", "Reservation Calendar", "3.4.0")
BOOKING_BREAKS = PluginPart("reservation-calendar", "Reservation Calendar", "3.4.0", "4.0.0", "fatal")
SLIDER_BREAKS = PluginPart("slider-deluxe", "Slider Deluxe", "1.8", "2.0", "white")
PORTAL = PluginPart("member-portal", "Member Portal", "2.2.0")
STANDARD = (AKISMET, MULTIBYTE, FORM)
LATE = (AKISMET_OLD, MULTIBYTE, FORM_OLD)


def _example(word: str, ja: str, en: str, **more: object) -> Character:
    host = f"www.{word}.example"
    fields: dict[str, object] = {"user": word, "plugins": STANDARD, **more}
    return Character(name=f"{word}.example", host=host, title_ja=ja, title_en=en, **fields)  # type: ignore[arg-type]


def _japanese(name: str, ja: str, en: str, **more: object) -> Character:
    """Under a name that JPRS keeps for documentation (example1.jp, example2.co.jp …), asked by WHOIS."""
    user = name.replace(".", "").replace("example", "ex")
    fields: dict[str, object] = {"user": user, "plugins": STANDARD, **more}
    return Character(name=name, host=f"www.{name}", title_ja=ja, title_en=en, **fields)  # type: ignore[arg-type]


def _agency(word: str, ja: str, en: str, **more: object) -> Character:
    return _example(word, ja, en, user="agency01", root=f"~/{word}/public_html", **more)


_CAST: tuple[Character, ...] = (
    _example("kogyo", "サンプル工業株式会社", "Sample Industries", plugins=(*LATE, SEO_OLD), tags=("corporate",)),
    _example(
        "shika",
        "みどり歯科クリニック",
        "Midori Dental Clinic",
        condition=Condition.FATAL,
        hours_ago=2.4,
        plugins=(AKISMET_OLD, MULTIBYTE, FORM_OLD, BOOKING),
        certificate_days=41.0,
        domain_days=61,
        owner=1,
        tags=("clinic",),
    ),
    _example("zeirishi", "税理士法人あおば", "Aoba Tax Accountants", certificate_days=80.0, domain_days=301),
    _example(
        "ryokan",
        "湯の里旅館",
        "Yunosato Inn",
        condition=Condition.HACKED,
        hours_ago=19.0,
        plugins=(AKISMET_OLD, MULTIBYTE, FORM_OLD, SEO_OLD),
        owner=1,
        tags=("booking",),
        newest_days=4.1,
    ),
    _example(
        "sakaya",
        "蔵元 白雲酒造",
        "Hakuun Sake Brewery",
        certificate_days=5.3,
        shop=True,
        plugins=(*STANDARD, SHOP),
        tags=("shop",),
        owner=2,
    ),
    _example(
        "bengoshi",
        "さくら法律事務所",
        "Sakura Law Office",
        certificate=CertificateKind.EXPIRED,
        certificate_days=-3.0,
        owner=2,
    ),
    _japanese("example3.co.jp", "山本建築設計事務所", "Yamamoto Architects", domain_days=12, owner=1),
    _example("hanaya", "花屋はなみずき", "Hanamizuki Florist", domain_days=None, tags=("shop",)),
    _example("kodomoen", "認定こども園ひまわり", "Himawari Nursery", generations=0, cover="quote", owner=2),
    _example("wagashi", "和菓子処 松月", "Shogetsu Sweets", condition=Condition.REFUSED, hours_ago=0.7, owner=1),
    _example("onsen", "山の湯温泉組合", "Mountain Spa Union", condition=Condition.SLOW, hours_ago=200.0),
    _agency("gakuin", "青空学院", "Aozora Academy", plugins=(AKISMET_OLD, MULTIBYTE, FORM)),
    _agency("juku", "進学塾ステップ", "Step Cram School", certificate_days=22.0),
    _agency("piano", "響ピアノ教室", "Hibiki Piano School", domain_days=88),
    _example("kensetsu", "丸和建設株式会社", "Maruwa Construction", ssh=False, newest_days=11.5, owner=1),
    _example(
        "nouen",
        "まつばら農園",
        "Matsubara Farm",
        shop=True,
        plugins=(AKISMET_OLD, MULTIBYTE, FORM_OLD, BOOKING_BREAKS, SHOP),
        tags=("shop", "booking"),
        owner=2,
    ),
    _example("kaigo", "介護施設ひだまり", "Hidamari Care Home", read_only=True, cover="quote"),
    _example(
        "byoin",
        "北浜総合病院",
        "Kitahama Hospital",
        php="7.4",
        wordpress="6.4.5",
        database_version="10.3.39-MariaDB",
        plugins=(AKISMET_OLD, MULTIBYTE, FORM_OLD),
        tags=("clinic",),
        certificate_days=33.0,
    ),
    _japanese("example1.jp", "みなと観光協会", "Minato Tourism", domain_days=133, certificate_days=74.0),
    _japanese(
        "example2.co.jp",
        "東西物流株式会社",
        "Tozai Logistics",
        domain_days=250,
        php="8.4",
        plugins=(*STANDARD, PORTAL),
    ),
    _example(
        "kissa",
        "喫茶ポエム",
        "Café Poem",
        certificate=CertificateKind.WRONG_NAME,
        certificate_days=58.0,
        plugins=(AKISMET_OLD, MULTIBYTE, SLIDER_BREAKS),
    ),
    _example("jinja", "若宮神社", "Wakamiya Shrine", suspect=0, newest_days=2.2),
    _example(
        "fudosan",
        "ひかり不動産",
        "Hikari Real Estate",
        condition=Condition.DATABASE,
        hours_ago=5.0,
        owner=2,
        tags=("corporate",),
    ),
    _example("npo", "NPO法人みらい", "Mirai NPO", newest_days=20.4, cover="quote", domain_days=47),
)

_TOWNS = (
    ("sapporo", "札幌"), ("sendai", "仙台"), ("mito", "水戸"), ("chiba", "千葉"), ("yokohama", "横浜"),
    ("nagano", "長野"), ("niigata", "新潟"), ("kanazawa", "金沢"), ("nagoya", "名古屋"), ("kyoto", "京都"),
    ("osaka", "大阪"), ("kobe", "神戸"), ("okayama", "岡山"), ("hiroshima", "広島"), ("takamatsu", "高松"),
    ("matsuyama", "松山"), ("fukuoka", "福岡"), ("kumamoto", "熊本"), ("kagoshima", "鹿児島"), ("naha", "那覇"),
)  # fmt: skip
_TRADES = (
    ("shika", "歯科医院", "Dental"), ("kogyo", "工業", "Industries"), ("zeirishi", "税理士事務所", "Tax Office"),
    ("ryokan", "旅館", "Inn"), ("kaden", "電器", "Electric"), ("insatsu", "印刷", "Printing"),
    ("shokudo", "食堂", "Diner"), ("seikei", "整形外科", "Orthopaedics"), ("koumuten", "工務店", "Builders"),
    ("bijutsukan", "美術館", "Museum"),
)  # fmt: skip


def cast(sites: int) -> tuple[Character, ...]:
    """The first 24 by hand, the others by rule: most of them well, about one in twelve with something to see."""
    chosen = [*_CAST[:sites], *(_generated(number) for number in range(len(_CAST), sites))]
    return tuple(
        replace(character, number=number, drilled_days=_drilled(number), drill_failed=number % 97 == 1)
        for number, character in enumerate(chosen)
    )


def _drilled(number: int) -> float | None:
    """Most within the month, one in seven never, one in nine too long ago."""
    if number < 3:
        return (2.1, 1.3, 5.2)[number]
    if number % 7 == 5:
        return None
    return 33.5 + number % 14 if number % 9 == 7 else 2.4 + number * 5 % 18


def _generated(number: int) -> Character:
    extra = number - len(_CAST)
    town, town_ja = _TOWNS[extra % len(_TOWNS)]
    trade, trade_ja, trade_en = _TRADES[extra // len(_TOWNS) % len(_TRADES)]
    lap = extra // (len(_TOWNS) * len(_TRADES))
    word = f"{town}-{trade}{lap + 1 if lap else ''}"
    fields: dict[str, object] = {
        "certificate_days": 25.0 + (number * 37) % 60,
        "domain_days": 31 + (number * 53) % 330,
        "newest_days": 0.4 + (number * 7 % 65) / 10,
        "owner": number % len(PEOPLE),
        "plugins": LATE if number % 5 == 0 else STANDARD,
        "php": ("8.2", "8.3", "8.4")[number % 3],
        "posts": 8 + number % 9,
    }
    match number % 36:
        case 0:
            fields["certificate_days"] = 4.0 + number % 5
        case 12:
            fields["domain_days"] = 9 + number % 14
        case 24:
            fields["newest_days"] = 16.0 + number % 9
        case 30 if number % 4 == 2:
            fields |= {"condition": Condition.FATAL, "plugins": (*STANDARD, BOOKING), "hours_ago": 1.0 + number % 20}
    return _example(word, f"{town_ja}{trade_ja}", f"{town.title()} {trade_en}", **fields)
