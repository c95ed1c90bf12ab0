"""The `plainlearn` command: a thin function each. What a command does is imported when it is called."""

from plainlearn.cli.root import main

__all__ = ["main"]
