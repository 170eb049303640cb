"""NVIDIA's client of the Open Inference Protocol, as it is: `foreign_client.py http|grpc ...`.

It asks the same three times, by number and by digest of the version too, and prints what it got.
"""

import json
import sys

import numpy as np
from tritonclient.utils import InferenceServerException

PROTOCOL, ADDRESS, MODEL, DIGEST, ROWS = sys.argv[1:6]

if PROTOCOL == "http":
    import tritonclient.http as client
else:
    import tritonclient.grpc as client

rows = np.array(json.loads(ROWS), dtype=np.float32)
server = client.InferenceServerClient(ADDRESS)
obs = client.InferInput("obs", list(rows.shape), "FP32")
found = {
    "live": server.is_server_live(),
    "ready": server.is_server_ready(),
    "model_ready": server.is_model_ready(MODEL),
    "outputs": [],
}
binaries = (True, False) if PROTOCOL == "http" else (True,)
for version in ("", "1", DIGEST):
    for binary in binaries:
        more = {"binary_data": binary} if PROTOCOL == "http" else {}
        obs.set_data_from_numpy(rows, **more)
        wanted = client.InferRequestedOutput("outputs", **more)
        answer = server.infer(MODEL, [obs], model_version=version, outputs=[wanted])
        found["outputs"].append(answer.as_numpy("outputs").tobytes().hex())
try:
    server.infer("nothing", [obs])
except InferenceServerException as e:
    found["unknown"] = [e.status(), e.message()]
if PROTOCOL == "http":
    found["metadata"] = server.get_model_metadata(MODEL)
    found["index"] = server.get_model_repository_index()
    found["server"] = server.get_server_metadata()["name"]
else:
    found["metadata"] = server.get_model_metadata(MODEL, as_json=True)
    found["index"] = server.get_model_repository_index(as_json=True)["models"]
    found["server"] = server.get_server_metadata(as_json=True)["name"]
server.close()
print(json.dumps(found))
