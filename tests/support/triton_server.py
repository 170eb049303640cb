"""Triton, by nvidia-pytriton, for one network: `triton_server.py FOLDER PORT GRPC_PORT`."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

folder, port, grpc_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
session = onnxruntime.InferenceSession(str(folder / "policy.onnx"))
size, width = (s[0].shape[1] for s in (session.get_inputs(), session.get_outputs()))


@batch
def infer(obs):
    return [np.concatenate([session.run(None, {"obs": row[None]})[0] for row in obs])]


config = TritonConfig(
    http_port=port,
    grpc_port=grpc_port,
    metrics_port=0,
    allow_metrics=False,
    http_address="127.0.0.1",
)
with Triton(config=config) as triton:
    triton.bind(
        model_name="tickmodel",
        infer_func=infer,
        inputs=[Tensor(name="obs", dtype=np.float32, shape=(size,))],
        outputs=[Tensor(name="outputs", dtype=np.float32, shape=(width,))],
        config=ModelConfig(max_batch_size=16, batcher=DynamicBatcher()),
    )
    triton.serve()
