"""The last lines that the processes of the grid have logged: bounded, newest first."""

from pathlib import Path as File
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel

from grid.gateway.desk import AtDesk, Reader
from grid.gateway.problem import answers

router: Final = APIRouter(prefix="/api/v1", tags=["views"])

_TAIL_BYTES: Final = 64 << 10  # of a file, however long it is
_LINE_CHARS: Final = 1_000
_FILES: Final = 100


class Line(BaseModel):
    """A line of a log."""

    process: str
    text: str


def tail(file: File, limit: int) -> list[str]:
    """Return the last lines of a file, newest first; none if it cannot be read."""
    try:
        with file.open("rb") as f:
            size = f.seek(0, 2)
            start = f.seek(max(0, size - _TAIL_BYTES))
            lines = f.read(_TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []
    whole = lines[1:] if start else lines  # the first one of a part is cut
    return [line[:_LINE_CHARS] for line in reversed(whole) if line.strip()][:limit]


@router.get("/logs", response_model=list[Line], responses=answers(400, 401, 403, 422, 429))
def logs(
    key: Reader,
    desk: AtDesk,
    process: Annotated[str, Query(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,59})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=200, description="lines of each process")] = 20,
) -> Any:
    """Return what the processes have logged last, each one's lines newest first."""
    folder = desk.home.logs / desk.config.name
    files = sorted(folder.glob("*.log"))[:_FILES]
    return [
        Line(process=file.stem, text=text)
        for file in files
        if not process or file.stem == process
        for text in tail(file, limit)
    ]
