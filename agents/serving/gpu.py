"""A checkpoint's network on a GPU, by torch. The one module here that needs it."""

import numpy as np
import torch

from agents.checkpoint import GOLDEN, Checkpoint
from agents.network import network_of
from agents.registry.export import torch_policy
from agents.serving.network import Floats, no_device, prove_near
from agents.serving.stateless import refuse_memory


class TorchNetwork:
    """A network run by torch, in full precision.

    Its outputs differ from ONNX Runtime's by rounding, and a row's may change with its batch.

    Args:
        checkpoint: opened, hence verified.
        device: as torch calls it.

    Raises:
        CheckpointError: outputs differ by more than rounding, or the layers are not known.
        ConfigError: there is no such device.
    """

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        refuse_memory(checkpoint, network_of(checkpoint).recurrent)
        golden = checkpoint.tensors(GOLDEN)
        self.spec = checkpoint.manifest.spec
        self.digest = checkpoint.digest
        self.size = int(golden["obs"].shape[1])
        self.width = int(golden["outputs"].shape[1])
        self.batched = True
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            self._network = torch_policy(checkpoint).to(device)
        except (RuntimeError, AssertionError) as e:
            raise no_device(device, str(e).splitlines()[0]) from e
        self._device = device
        prove_near(self, checkpoint)

    def run(self, obs: Floats) -> Floats:
        """Return outputs [rows, width] for observations [rows, size]."""
        with torch.inference_mode():
            found = self._network(torch.from_numpy(np.array(obs)).to(self._device))
        outputs: Floats = found.cpu().numpy()
        return outputs
