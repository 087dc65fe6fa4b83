"""What opens the database of a site whose wp-config.php is lost: the site's file says it, or a person has to."""

from __future__ import annotations

from backends.agent.client import Access
from backends.password_command import CommandFailed, first_line
from backends.records import Blocker, Credentials, DatabaseSettings, ModoseruError, Site


class CredentialsWanted(ModoseruError):  # noqa: N818 - says what happened
    """No known credentials open the site's database. `known` is what can be told of them but the password."""

    def __init__(self, site: Site, why: Blocker, known: Access) -> None:
        super().__init__(why.code, why.message, why.hint)
        self.site, self.known = site, known


async def of_site(site: Site) -> Credentials | None:
    """Those of `[server.database]`; None where there are none. Runs its `password_command`; raises CommandFailed."""
    return await _spoken(site, site.server.database)


async def of_target(site: Site) -> Credentials | None:
    """Those of `[runtime.database]`, in the same way."""
    return await _spoken(site, site.runtime.database)


async def _spoken(site: Site, wanted: DatabaseSettings | None) -> Credentials | None:
    if wanted is None:
        return None
    try:
        password = await first_line(wanted.password_command)
    except CommandFailed as error:
        raise CommandFailed(f"{site.name}: {error.message}", error.hint) from None
    return Credentials(name=wanted.name, user=wanted.user, password=password, host=wanted.host)
