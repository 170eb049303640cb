"""Pages of lists: a cursor is the number of the last row that was told."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel

Limit = Annotated[int, Query(ge=1, le=500, description="rows of a page")]
Cursor = Annotated[
    str, Query(pattern=r"^[0-9]{0,18}$", description="`next` of the page before; empty at first")
]


class Page[Row](BaseModel):
    """A page, newest first; `next` is the cursor of the page behind it, null at the end."""

    items: list[Row]
    next: str | None


def page(found: Iterable[Any], limit: int, cursor: str, at: Any = None) -> dict[str, Any]:
    """Cut a page out of rows that are newest first; each has a number that falls."""
    number = at or (lambda row: row.n)
    below = int(cursor) if cursor else None
    wanted = [row for row in found if below is None or number(row) < below][: limit + 1]
    more = len(wanted) > limit
    return {"items": wanted[:limit], "next": str(number(wanted[limit - 1])) if more else None}


def numbered(found: list[Any], limit: int, cursor: str) -> dict[str, Any]:
    """Cut a page out of rows without numbers of their own: their places count, from the end."""
    places = list(zip(range(len(found), 0, -1), found, strict=True))
    cut = page(places, limit, cursor, lambda pair: pair[0])
    return {"items": [row for _, row in cut["items"]], "next": cut["next"]}
