"""The values in messages, and how large each may be: what arrives is held to it while decoding.

The numbers that orders and money rest on are finite. Depth needs no limit of its own: what is
decoded has the depth of its type.
"""

import sys
from typing import Annotated, Final

import msgspec

MAX_NAME: Final = 256  # characters of a name, a topic, an id
MAX_TEXT: Final = 4_096  # characters of a sentence for people
MAX_ITEMS: Final = 32_768  # of a map or an array

Number = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_some: Final = msgspec.Meta(max_length=MAX_ITEMS)

type Items[T] = Annotated[tuple[T, ...], _some]
type Table[V] = Annotated[dict[Name, V], _some]
