"""The dashboard's files: read once, served as they are. What they show needs a key, they do not."""

import mimetypes
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from grid.gateway import logs
from grid.gateway.problem import Refusal

WEB: Final = Path(__file__).with_name("web")
_TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    # the chart library sets a style of its own; scripts are ours alone
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'"
        " data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

router: Final = APIRouter(include_in_schema=False)
router.include_router(logs.router, include_in_schema=True)


def _read() -> dict[str, tuple[bytes, str]]:
    found = {}
    for file in sorted(p for p in WEB.rglob("*") if p.is_file()):
        guessed = mimetypes.guess_type(file.name)[0] or "text/plain"
        kind = _TYPES.get(file.suffix, guessed)
        found[file.relative_to(WEB).as_posix()] = file.read_bytes(), kind
    return found


_FILES: Final = _read()  # no path of a request ever meets the disk


@router.get("/")
@router.get("/training")
@router.get("/sessions")
async def page(request: Request) -> Response:
    """Return a page of the dashboard."""
    return await file(f"{request.url.path.strip('/') or 'index'}.html")


@router.get("/web/{path:path}")
async def file(path: str) -> Response:
    """Return a file of the dashboard."""
    if path not in _FILES:
        raise Refusal(404, "no such page")
    content, kind = _FILES[path]
    return Response(content, media_type=kind, headers=_HEADERS)
