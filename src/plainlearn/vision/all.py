"""`from plainlearn.vision.all import *`: the course's names; the list is in `course/vision.py`."""

from plainlearn.course.vision import *  # noqa: F403
from plainlearn.course.vision import __all__  # noqa: F401
