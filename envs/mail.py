"""Plain data as bytes, between a vector env and its workers: never a pickle.

Numbers, texts, lists, dicts and arrays keep their bits; a tuple arrives as a list, a NumPy scalar
as a number.
"""

from typing import Any, Final

import msgspec
import numpy as np

_ARRAY: Final = 1


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        parts = (value.dtype.str, value.shape, value.tobytes())
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(parts))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected plain data and arrays, found {type(value).__name__}")


def _array(code: int, data: memoryview) -> Any:
    dtype, shape, raw = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], bytes])
    return np.frombuffer(raw, dtype=dtype).reshape(shape).copy()


encode: Final = msgspec.msgpack.Encoder(enc_hook=_plain).encode
decode: Final = msgspec.msgpack.Decoder(ext_hook=_array).decode

__all__ = ["decode", "encode"]
