"""A question to a model server in TorchServe's style: `ask_model.py URL SIZE`.

URL is as in http://127.0.0.1:8080/predictions/tickmodel, SIZE how many numbers an observation has.
"""

import sys

import requests

url, size = sys.argv[1], int(sys.argv[2])
try:
    response = requests.post(url, json={"data": [0.0] * size}, timeout=0.5)
    response.raise_for_status()
except requests.RequestException as e:  # a strategy holds what it has, and counts it
    sys.exit(f"no prediction: {e}")
outputs = response.json()  # of this one request: TorchServe sends its element, no list around it
best = max(range(len(outputs)), key=outputs.__getitem__)
print(f"outputs {outputs}, the highest is number {best}")
