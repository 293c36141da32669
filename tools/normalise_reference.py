"""Writes tests/fixtures/picture/levels.json: the bits of every level of every channel as torchvision normalises it.

    pip install torch && python tools/normalise_reference.py > tests/fixtures/picture/levels.json

`ToTensor` divides by 255 and `Normalize` subtracts the mean and divides by the deviation, each in float32.
"""

import json

import torch

levels = torch.arange(256, dtype=torch.uint8).repeat(3, 1).to(torch.float32).div(255)
mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float32)[:, None]
deviation = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float32)[:, None]
values = levels.sub(mean).div(deviation)
print(json.dumps(values.view(torch.int32).tolist()))
