"""Every operation that is killed, by the name that `python -m tests.faults NAME` takes."""

from __future__ import annotations

from tests.agent.blog import ARTICLE
from tests.faults.blog_site import BlogSite
from tests.faults.isolations import IsolatedTrial, IsolationTrial
from tests.faults.kills import Scenario
from tests.faults.moves import MoveTrial
from tests.faults.updates import ITEMS, UpdateTrial, WordPressSite

SCENARIOS = (
    Scenario("restore all", "restore", {"only": "all"}),
    Scenario("undo", "undo", restored=True),
    Scenario("backup", "snapshot", {"reason": "hand"}),
    Scenario("drill", "drill"),
    Scenario("update", "update", {"items": ITEMS}, site=WordPressSite, trial=UpdateTrial),
    Scenario("upgrader", "update", {"items": ITEMS}, process="upgrade", site=WordPressSite, trial=UpdateTrial),
    Scenario("restore a post", "restore", {"only": f"post:{ARTICLE}"}, site=BlogSite),
    Scenario("restore another site", "restore", {"only": "all"}, trial=MoveTrial),
    Scenario("isolate", "isolate", trial=IsolationTrial),
    Scenario("restore isolated", "restore", {"only": "all"}, trial=IsolatedTrial),
    Scenario("restore files", "restore", {"only": "files"}),
    Scenario("restore database", "restore", {"only": "database"}),
    Scenario("restore a path", "restore", {"only": ["wp-content/uploads"]}),
    Scenario("restore afresh", "restore", {"only": "all", "fresh": True}),
)
BY_NAME = {one.name: one for one in SCENARIOS}
