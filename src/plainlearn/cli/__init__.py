"""The `plainlearn` command: one thin function a command, each importing its work when it is called."""

from plainlearn.cli.root import main

__all__ = ["main"]
