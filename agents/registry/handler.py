"""What TorchServe runs in a `.mar` of ours: numbers in, the network's outputs out.

It goes into the archive as it is and imports nothing of this program.
"""

import json
import os
from typing import Any

import torch


class PolicyHandler:
    """A traced policy network.

    A request is a list of numbers, or a list of such lists, as JSON or in a field `data`; its
    answer has the same form.
    """

    def initialize(self, context: Any) -> None:
        """Load the network; called once in each worker."""
        folder = context.system_properties["model_dir"]
        file = context.manifest["model"]["serializedFile"]
        gpu = context.system_properties.get("gpu_id")
        cuda = torch.cuda.is_available() and gpu is not None
        self._device = f"cuda:{gpu}" if cuda else "cpu"
        torch.set_num_threads(1)
        load: Any = torch.jit.load
        self._network = load(os.path.join(folder, file), map_location=self._device).eval()
        with open(os.path.join(folder, "model.json"), encoding="utf-8") as described:
            self._digest = json.load(described)["digest"]

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """Return the outputs of each request of a batch."""
        asked = [_numbers(each) for each in data]
        rows = [row for each in asked for row in (each if isinstance(each[0], list) else [each])]
        with torch.inference_mode():
            tensor = torch.tensor(rows, dtype=torch.float32, device=self._device)
            outputs = iter(self._network(tensor).cpu().tolist())
        for at in range(len(data)):
            context.set_response_header(at, "X-Model-Digest", self._digest)
        return [
            [next(outputs) for _ in each] if isinstance(each[0], list) else next(outputs)
            for each in asked
        ]


def _numbers(request: dict[str, Any]) -> Any:
    found: Any = request.get("body", request.get("data"))
    if isinstance(found, bytes | bytearray):
        found = json.loads(found)
    return found["data"] if isinstance(found, dict) else found
