"""The classes of the Open Inference Protocol's gRPC messages, from `oip.desc`.

In a pool of their own: a foreign client in the same process brings messages of the same names.
"""

from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE: Final = "inference.GRPCInferenceService"

_pool: Final = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    Path(__file__).with_name("oip.desc").read_bytes()
).file:
    _pool.Add(_file)

METHODS: Final[dict[str, tuple[Any, Any]]] = {  # method -> classes of its request and response
    method.name: (
        message_factory.GetMessageClass(method.input_type),
        message_factory.GetMessageClass(method.output_type),
    )
    for method in _pool.FindServiceByName(SERVICE).methods
}
