"""The last frames of every stream, so that what somebody missed can be fetched. Pure.

One thread may keep while another reads: what is read is looked up, never iterated over.
"""

from collections import deque
from typing import Final

from grid.wire import MAX_FRAME_BYTES

type Stream = tuple[str, int, str]  # source, epoch, topic

FRAME_COST_BYTES: Final = 250  # of Python's objects around a frame that is kept
LARGEST_BYTES: Final = MAX_FRAME_BYTES - 4096  # a larger one fits into no reply


class _Kept:
    """One stream: its frames by sequence, and the range that they lie in."""

    def __init__(self, seq: int) -> None:
        self.frames: dict[int, bytes] = {}
        self.low = self.high = seq


class Ring:
    """Keeps whole frames, all streams together in `limit_bytes`; the oldest go first.

    Attributes:
        size_bytes: what is kept now.
        limit_bytes: what may be; 0 keeps nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._streams: dict[Stream, _Kept] = {}
        self._newest: dict[str, Stream] = {}  # topic -> stream of its newest event
        self._order: deque[tuple[Stream, int]] = deque()

    def keep(self, stream: Stream, seq: int, frame: bytes) -> None:
        """Take the event `seq` of a stream; a second one, and one beyond all pages, is let go."""
        if len(frame) > LARGEST_BYTES:
            return
        kept = self._streams.get(stream)
        if kept is None:
            kept = self._streams[stream] = _Kept(seq)
        elif seq in kept.frames:
            return
        kept.frames[seq] = frame
        if seq > kept.high:
            kept.high = seq
        self._newest[stream[2]] = stream
        self._order.append((stream, seq))
        self.size_bytes += len(frame) + FRAME_COST_BYTES
        while self.size_bytes > self.limit_bytes:
            self._evict()

    def span(self, stream: Stream) -> tuple[int, int]:
        """Return the first and last sequence of what is kept; (0, 0) if nothing is.

        There may be holes in between, where the events never came here.
        """
        kept = self._streams.get(stream)
        return (min(kept.low, kept.high), kept.high) if kept else (0, 0)

    def fetch(self, stream: Stream, first: int, last: int, limit_bytes: int) -> list[bytes]:
        """Return the frames from `first` on without a hole, to `last` or as many as fit.

        The first one always fits.
        """
        kept = self._streams.get(stream)
        found: list[bytes] = []
        for seq in range(first, last + 1):
            frame = kept.frames.get(seq) if kept else None
            if frame is None or (found and len(frame) > limit_bytes):
                break
            limit_bytes -= len(frame)
            found.append(frame)
        return found

    def tail(self, topic: str, n: int, limit_bytes: int) -> tuple[Stream, int, list[bytes]] | None:
        """Return the stream of the newest event on a topic, and its last frames without a hole.

        Returns:
            (stream, sequence of the first frame, frames), or None where nothing is kept.
        """
        stream = self._newest.get(topic)
        kept = self._streams.get(stream) if stream else None
        if stream is None or kept is None:
            return None
        last = kept.high
        found: list[bytes] = []
        for seq in range(last, max(0, last - n), -1):
            frame = kept.frames.get(seq)
            if frame is None or (found and len(frame) > limit_bytes):
                break
            limit_bytes -= len(frame)
            found.append(frame)
        return (stream, last - len(found) + 1, found[::-1]) if found else None

    def _evict(self) -> None:
        stream, seq = self._order.popleft()
        kept = self._streams[stream]
        self.size_bytes -= len(kept.frames.pop(seq)) + FRAME_COST_BYTES
        kept.low = max(kept.low, seq + 1)
        if not kept.frames:
            del self._streams[stream]
            if self._newest.get(stream[2]) == stream:
                del self._newest[stream[2]]
