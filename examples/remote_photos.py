"""Train on pictures that are elsewhere: the data block of a folder, with an address in place of the path.

    python examples/remote_photos.py s3://my-bucket/pets          pip install s3fs
    python examples/remote_photos.py https://example.org/pets     pip install "plainlearn[remote]"
    python examples/remote_photos.py zip://::pets.zip             nothing to install

The pictures lie in train/CLASS/ and valid/CLASS/. Without an address, digits on this machine stand in.
"""

import sys

from plainlearn.augment.transforms import Resize
from plainlearn.data import CategoryBlock, DataBlock, GrandparentSplitter, get_image_files, parent_label
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.urls import URLs
from plainlearn.vision.blocks import ImageBlock

address = sys.argv[1] if len(sys.argv) > 1 else f"file://{untar_data(URLs.MNIST_SAMPLE)}"
pets = DataBlock(
    blocks=(ImageBlock, CategoryBlock),
    get_items=get_image_files,
    splitter=GrandparentSplitter(),
    get_y=parent_label,
    item_tfms=Resize(64),
)
# Threads wait for the network, so more of them than cores are worth it.
dls = pets.dataloaders(address, path=".", bs=16, num_workers=16)
print(dls.counts())
images, labels = dls.one_batch()
print(tuple(images.shape), "of", [dls.vocab[label] for label in labels[:4]], "…")
# From here on nothing is different: learn = vision_learner(dls, resnet18, metrics=accuracy)
