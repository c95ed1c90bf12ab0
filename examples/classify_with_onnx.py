"""Classify images by an exported model, without PyTorch and without plainlearn: numpy, Pillow and onnxruntime.

    python classify_with_onnx.py pets.onnx cat.jpg dog.jpg

Such a file is made by `export_onnx(learn, "pets.onnx")`, or `plainlearn export FILE --onnx pets.onnx --check cat.jpg`.
Without arguments a small model that tells handwritten 3s from 7s looks at a digit; both are beside this file.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

here = Path(__file__).parent
model, *images = sys.argv[1:] or [here / "digits.onnx", here / "three.png"]

session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
channels = session.get_inputs()[0].shape[3]

for name in images:
    # Upright pixels as they are: resizing and normalisation are in the model.
    picture = ImageOps.exif_transpose(Image.open(name)).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(picture).reshape(1, picture.height, picture.width, channels)
    (probabilities,) = session.run(None, {"image": pixels})[0]
    best = int(probabilities.argmax())
    print(f"{Path(name).name}: {labels[best]!r}, {probabilities[best]:.1%} sure")
