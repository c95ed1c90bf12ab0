"""A run: from a folder of images to a model file and a report, within the time that there is. `plainlearn train` is this."""

from plainlearn.runs.config import RunConfig
from plainlearn.runs.record import Outcome
from plainlearn.runs.run import train

__all__ = ["Outcome", "RunConfig", "train"]
