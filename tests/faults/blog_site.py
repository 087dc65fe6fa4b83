"""The fault site as a blog, from which somebody deletes an article with its pictures and comments."""

from __future__ import annotations

from tests.agent import blog
from tests.faults.site import FaultSite


class BlogSite(FaultSite):
    def grow(self) -> BlogSite:
        self.build(blog.tables())
        blog.with_pictures(self)
        self.own()
        self.age()
        return self

    def ruin(self) -> None:
        blog.delete(self)
