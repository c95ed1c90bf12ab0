"""Pack pictures into shards, and train on those: for sets of millions of files, or larger than the disk.

    pip install "plainlearn[shards]"
    python examples/sharded_photos.py my-photos my-shards

Copy `my-shards` to a bucket, and `get_records("s3://bucket/my-shards")` reads it there. The pictures lie in
folders named after their class; without a folder, digits on this machine stand in.
"""

import sys
from tempfile import mkdtemp

from plainlearn.augment.transforms import Resize
from plainlearn.data import CategoryBlock, DataBlock, RandomSplitter, get_image_files, parent_label
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.shards import get_records, write_shards
from plainlearn.datasets.urls import URLs
from plainlearn.vision.blocks import ImageBlock

photos, shards = sys.argv[1:] or (untar_data(URLs.MNIST_SAMPLE) / "valid", mkdtemp())
files = get_image_files(photos)
written = write_shards(shards, ({"image": file.read_bytes(), "label": parent_label(file)} for file in files))
print(len(files), "pictures in", len(written), "shards")

pets = DataBlock(
    blocks=(ImageBlock, CategoryBlock),
    get_items=get_records,
    splitter=RandomSplitter(seed=1),
    get_x="image",
    get_y="label",
    item_tfms=Resize(64),
)
dls = pets.dataloaders(shards, path=".", bs=16)
print(dls.counts())
images, labels = dls.one_batch()
print(tuple(images.shape), "of", [dls.vocab[label] for label in labels[:4]], "…")
# From here on nothing is different: learn = vision_learner(dls, resnet18, metrics=accuracy)
