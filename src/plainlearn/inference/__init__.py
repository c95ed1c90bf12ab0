"""Inference: the model file as plain data, and what predicts from it. It knows nothing of training."""

from plainlearn.inference.modelfile import ModelFile, read_model_file, write_model_file
from plainlearn.inference.predictor import UNKNOWN, ItemPredictor, Prediction

__all__ = ["UNKNOWN", "ItemPredictor", "ModelFile", "Prediction", "read_model_file", "write_model_file"]
