"""The lesson as a story in a terminal: real digits, learned rung by rung."""

from plainlearn.demo.story import run

__all__ = ["run"]
