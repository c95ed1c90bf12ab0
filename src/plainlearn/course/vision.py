"""The course's face: `from plainlearn.vision.all import *` gives the names that its notebooks use, and no more.

These are the library's own objects and, where the course uses them without an import of its
own, those of torch, numpy, pandas, matplotlib and Python.
"""

import math
import os
import random
import re
import string
from functools import partial
from time import sleep
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy import array
from torch import Tensor, nn

from plainlearn.audit.checks import audit_folder
from plainlearn.augment.aug_transforms import aug_transforms, setup_aug_tfms
from plainlearn.augment.lighting import Brightness, Contrast, Hue, Normalize, RandomErasing, Saturation
from plainlearn.augment.transforms import (
    CropPad,
    Dihedral,
    Flip,
    PadModes,
    RandomResizedCrop,
    Resize,
    ResizeMethod,
    Rotate,
    Warp,
    Zoom,
)
from plainlearn.core.device import default_device
from plainlearn.core.figures import plot_function, show_image, show_images, subplots
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.core.seed import set_seed
from plainlearn.core.tensors import Inf, first, noop, params, tensor, to_cpu, to_device, to_np
from plainlearn.course import pil_image as Image
from plainlearn.course.pil_image import PILImage, PILImageBW, PILMask, image2tensor
from plainlearn.course.tensor_image import Pipeline, TensorImage
from plainlearn.data import (
    Block,
    CategoryBlock,
    ColReader,
    ColSplitter,
    DataBlock,
    DataLoader,
    DataLoaders,
    Datasets,
    DataWarning,
    FuncLabeller,
    FuncSplitter,
    GrandparentSplitter,
    GroupSplitter,
    IndexSplitter,
    MultiCategoryBlock,
    RandomSplitter,
    RegexLabeller,
    RegressionBlock,
    RemotePath,
    TensorRows,
    TrainTestSplitter,
    get_files,
    get_image_files,
    get_records,
    parent_label,
    using_attr,
    write_shards,
)
from plainlearn.datasets.download import untar_data
from plainlearn.datasets.urls import URLs
from plainlearn.images.load import load_image, verify_images
from plainlearn.images.resize_files import resize_images
from plainlearn.inference.onnx_predictor import load_predictor
from plainlearn.inference.predictor import Predictor
from plainlearn.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    DiceLoss,
    FocalLoss,
    FocalLossFlat,
    L1LossFlat,
    LabelSmoothingCrossEntropy,
    LabelSmoothingCrossEntropyFlat,
    MSELossFlat,
    balanced_loss,
    class_weights,
)
from plainlearn.metrics import accuracy, accuracy_multi, error_rate, mae, mse, rmse, top_k_accuracy
from plainlearn.models.archs import resnet18, resnet34, resnet50, resnet101, resnet152
from plainlearn.models.heads import AdaptiveConcatPool2d, Flatten, create_head
from plainlearn.models.model import create_body, create_vision_model, layer_by_layer
from plainlearn.optim import SGD, Adam, RMSProp, combine_scheds, combined_cos
from plainlearn.train import Callback, Checkpoint, Learner, Recorder
from plainlearn.train.callbacks import (
    EMA,
    SWA,
    ActivationStats,
    CSVLogger,
    CutMix,
    Deadline,
    EarlyStopping,
    EarlyStoppingCallback,
    GradientAccumulation,
    GradientClip,
    MixUp,
    MLflowCallback,
    ReduceLROnPlateau,
    SaveModel,
    SaveModelCallback,
    TensorBoardCallback,
    TerminateOnNaN,
    TerminateOnNaNCallback,
    WandbCallback,
)
from plainlearn.train.lr_find import minimum, slide, steep, valley
from plainlearn.vision.blocks import ImageBlock, MaskBlock
from plainlearn.vision.box_blocks import BBoxBlock, BBoxLblBlock
from plainlearn.vision.export import export, export_onnx
from plainlearn.vision.learner import cnn_learner, unet_learner, vision_learner
from plainlearn.vision.load_learner import load_learner
from plainlearn.vision.loaders import ImageDataLoaders, SegmentationDataLoaders
from plainlearn.vision.point_block import PointBlock

imagenet_stats = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

__all__ = [
    "EMA",
    "SGD",
    "SWA",
    "ActivationStats",
    "Adam",
    "AdaptiveConcatPool2d",
    "BBoxBlock",
    "BBoxLblBlock",
    "BCEWithLogitsLossFlat",
    "Block",
    "Brightness",
    "CSVLogger",
    "Callback",
    "CategoryBlock",
    "Checkpoint",
    "ColReader",
    "ColSplitter",
    "Contrast",
    "CropPad",
    "CrossEntropyLossFlat",
    "CutMix",
    "DataBlock",
    "DataLoader",
    "DataLoaders",
    "DataWarning",
    "Datasets",
    "Deadline",
    "DiceLoss",
    "Dihedral",
    "EarlyStopping",
    "EarlyStoppingCallback",
    "F",
    "Flatten",
    "Flip",
    "FocalLoss",
    "FocalLossFlat",
    "FuncLabeller",
    "FuncSplitter",
    "GradientAccumulation",
    "GradientClip",
    "GrandparentSplitter",
    "GroupSplitter",
    "Hue",
    "Image",
    "ImageBlock",
    "ImageDataLoaders",
    "IndexSplitter",
    "Inf",
    "L",
    "L1LossFlat",
    "LabelSmoothingCrossEntropy",
    "LabelSmoothingCrossEntropyFlat",
    "Learner",
    "MLflowCallback",
    "MSELossFlat",
    "MaskBlock",
    "MixUp",
    "MultiCategoryBlock",
    "Normalize",
    "PILImage",
    "PILImageBW",
    "PILMask",
    "PadModes",
    "Path",
    "Pipeline",
    "PointBlock",
    "Predictor",
    "RMSProp",
    "RandomErasing",
    "RandomResizedCrop",
    "RandomSplitter",
    "Recorder",
    "ReduceLROnPlateau",
    "RegexLabeller",
    "RegressionBlock",
    "RemotePath",
    "Resize",
    "ResizeMethod",
    "Rotate",
    "Saturation",
    "SaveModel",
    "SaveModelCallback",
    "SegmentationDataLoaders",
    "SimpleNamespace",
    "Tensor",
    "TensorBoardCallback",
    "TensorImage",
    "TensorRows",
    "TerminateOnNaN",
    "TerminateOnNaNCallback",
    "TrainTestSplitter",
    "URLs",
    "WandbCallback",
    "Warp",
    "Zoom",
    "accuracy",
    "accuracy_multi",
    "array",
    "audit_folder",
    "aug_transforms",
    "balanced_loss",
    "class_weights",
    "cnn_learner",
    "combine_scheds",
    "combined_cos",
    "create_body",
    "create_head",
    "create_vision_model",
    "default_device",
    "error_rate",
    "export",
    "export_onnx",
    "first",
    "get_files",
    "get_image_files",
    "get_records",
    "image2tensor",
    "imagenet_stats",
    "layer_by_layer",
    "load_image",
    "load_learner",
    "load_predictor",
    "mae",
    "math",
    "matplotlib",
    "minimum",
    "mse",
    "nn",
    "noop",
    "np",
    "os",
    "params",
    "parent_label",
    "partial",
    "pd",
    "plot_function",
    "plt",
    "random",
    "re",
    "resize_images",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "rmse",
    "set_seed",
    "setup_aug_tfms",
    "show_image",
    "show_images",
    "sleep",
    "slide",
    "steep",
    "string",
    "subplots",
    "tensor",
    "to_cpu",
    "to_device",
    "to_np",
    "top_k_accuracy",
    "torch",
    "unet_learner",
    "untar_data",
    "using_attr",
    "valley",
    "verify_images",
    "vision_learner",
    "write_shards",
]
