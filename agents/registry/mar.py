"""A `.mar` for TorchServe: a zip of the network, its handler and a manifest.

Written here and not by `torch-model-archiver`, whose last release is as old as TorchServe's; the
format is that of its version 0.12. The same checkpoint gives the same bytes.
"""

import io
import zipfile
from pathlib import Path
from typing import Final

import msgspec

_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
_NETWORK: Final = "policy.pt"
_HANDLER: Final = Path(__file__).with_name("handler.py")


def pack(name: str, version: str, network: bytes, described: bytes) -> bytes:
    """Return the archive.

    Args:
        name: of the model.
        version: of the model.
        network: TorchScript.
        described: `model.json`.
    """
    manifest = {
        "createdOn": "01/01/1980 00:00:00",
        "runtime": "python",
        "model": {
            "modelName": name,
            "serializedFile": _NETWORK,
            "handler": _HANDLER.name,
            "modelVersion": version,
        },
        "archiverVersion": "0.12.0",
    }
    members = {
        _NETWORK: network,
        _HANDLER.name: _HANDLER.read_bytes(),
        "model.json": described,
        "MAR-INF/MANIFEST.json": msgspec.json.format(msgspec.json.encode(manifest)),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member, _NO_TIME), content)
    return packed.getvalue()
