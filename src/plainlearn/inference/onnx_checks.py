"""A network as an ONNX graph that came in a file from anybody: looked through to the last field, then run by onnxruntime.

Only what plainlearn's export writes is let through. No file is opened: a tensor is in the graph itself, or in the model
file under the name that its place says, `plainlearn:NAME`. Reading the graph's bytes takes some lines of
our own, as the library that writes them takes half a second to import.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.errors import DataError, MissingExtraError

__all__ = ["MARK", "Graph", "read_graph"]

#: Before the name of a tensor of the model file, where ONNX tells the place of what is not in the graph.
MARK: Final = "plainlearn:"

_MOST: Final = 1 << 28  # numbers that one tensor of the model file may have
_DTYPES: Final = {1: "float32", 7: "int64"}

# What may stand in each message, by number: a kind of message, or how its bytes are taken.
_NUMBER, _TEXT, _BYTES, _WORD, _NUMBERS = "number", "text", "bytes", "word", "numbers"
_FIELDS: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "model": {1: ("ir_version", _NUMBER), 2: ("producer", _TEXT), 3: ("producer_version", _TEXT), 5: ("version", _NUMBER),
              7: ("graph", "graph"), 8: ("opset", "opset")},
    "opset": {1: ("domain", _TEXT), 2: ("version", _NUMBER)},
    "graph": {1: ("node", "node"), 2: ("name", _TEXT), 5: ("tensor", "tensor"), 11: ("input", "value"),
              12: ("output", "value"), 13: ("value", "value")},
    "node": {1: ("input", _TEXT), 2: ("output", _TEXT), 3: ("name", _TEXT), 4: ("operation", _TEXT),
             5: ("attribute", "attribute"), 7: ("domain", _TEXT)},
    "attribute": {1: ("name", _TEXT), 2: ("float", _WORD), 3: ("int", _NUMBER), 4: ("text", _BYTES), 5: ("inner", "inner"),
                  7: ("floats", _NUMBERS), 8: ("ints", _NUMBERS), 9: ("texts", _BYTES), 20: ("kind", _NUMBER)},
    "tensor": {1: ("sides", _NUMBERS), 2: ("kind", _NUMBER), 4: ("floats", _NUMBERS), 5: ("ints", _NUMBERS),
               7: ("longs", _NUMBERS), 8: ("name", _TEXT), 9: ("bytes", _BYTES), 13: ("elsewhere", "entry"),
               14: ("where", _NUMBER)},
    "inner": {1: ("sides", _NUMBERS), 2: ("kind", _NUMBER), 4: ("floats", _NUMBERS), 5: ("ints", _NUMBERS),
              7: ("longs", _NUMBERS), 8: ("name", _TEXT), 9: ("bytes", _BYTES)},
    "entry": {1: ("key", _TEXT), 2: ("value", _TEXT)},
    "value": {1: ("name", _TEXT), 2: ("type", "type")},
    "type": {1: ("array", "array")},
    "array": {1: ("kind", _NUMBER), 2: ("shape", "shape")},
    "shape": {1: ("side", "side")},
    "side": {1: ("number", _NUMBER), 2: ("name", _TEXT)},
}  # fmt: skip

_SIZES: Final = {1: 8, 5: 4}  # bytes of the wire types that say no length

Message = dict[str, list[Any]]


@dataclass(frozen=True)
class Graph:
    """A graph that was looked through: its bytes, the shapes of what goes in and comes out, and what it takes from the file.

    Shapes hold 0 for the number of images. `shared` maps the graph's names to those of the model file's tensors.
    """

    content: bytes
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    shared: Mapping[str, str]

    def session(self, weights: Mapping[str, NDArray[Any]], *, threads: int = 0) -> Callable[..., list[Any]]:
        """What runs it: from a batch (N, C, H, W) float32 to its outputs, from any thread.

        `threads` 0 is one for each core. Raises `DataError` where onnxruntime refuses the graph.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError(
                "onnxruntime", needed_for="predicting by a file's graph", extra="onnx"
            ) from error
        library: Any = onnxruntime
        options = library.SessionOptions()
        options.intra_op_num_threads = threads
        # Or its idle threads take the cores, 60 ms of CPU for the reading of one picture, from whoever else needs them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what is wrong comes as an exception
        arrays = [np.ascontiguousarray(weights[name]) for name in self.shared.values()]
        values = [library.OrtValue.ortvalue_from_numpy(array) for array in arrays]
        options.add_external_initializers(list(self.shared), values)
        try:
            made = library.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no class in common but this
            raise DataError(f"its graph cannot be run: {error!s:.300}", try_="by='torch'") from error
        (name,) = self.inputs
        names = list(self.outputs)

        def run(batch: NDArray[np.float32]) -> list[Any]:
            try:
                return cast("list[Any]", made.run(names, {name: batch}))
            except Exception as error:
                raise DataError(f"its graph cannot be run: {error!s:.300}") from error

        run.keeps = arrays  # pyright: ignore[reportFunctionMemberAccess] (the session looks into their memory)
        return run


def read_graph(content: bytes, weights: Mapping[str, Any]) -> Graph:
    """The graph in these bytes, if it is one that plainlearn could have written beside these weights.

    Raises `DataError` for any other: code or operations from elsewhere, graphs within it, tensors in other files or
    in memory, names that no weight has, bytes that are not understood.
    """
    try:
        model = _message(memoryview(content), "model")
    except (IndexError, UnicodeDecodeError) as error:
        raise _strange("it ends within a field, or holds text that is none") from error
    for opset in model["opset"]:
        for domain in opset["domain"]:
            _check_domain(domain)
    if len(model["graph"]) != 1:
        raise _strange(f"it has {len(model['graph'])} graphs")
    (graph,) = model["graph"]
    for node in graph["node"]:
        for domain in node["domain"]:
            _check_domain(domain)
    shared: dict[str, str] = {}
    for tensor in graph["tensor"]:
        if tensor["where"] or tensor["elsewhere"]:
            shared[_one(tensor["name"])] = _taken(tensor, weights)
    return Graph(content, _shapes(graph["input"]), _shapes(graph["output"]), shared)


def _taken(tensor: Message, weights: Mapping[str, Any]) -> str:
    """Which of the file's tensors stands for this one, which is not in the graph."""
    if tensor["where"] != [1] or len(tensor["elsewhere"]) != 1:
        raise _strange("it has a tensor that is neither in it nor in the model file")
    (entry,) = tensor["elsewhere"]
    place = _one(entry["value"])
    name = place.removeprefix(MARK)
    if _one(entry["key"]) != "location" or name == place or name not in weights:
        raise _strange(f"it has a tensor at {place!r:.200}, and not in the model file")
    given = weights[name]
    dtype = str(given.dtype).removeprefix("torch.")
    if (
        _DTYPES.get(_one(tensor["kind"])) != dtype
        or tuple(given.shape) != tuple(tensor["sides"])
        or any(tensor[part] for part in ("bytes", "floats", "ints", "longs"))
        or reduce(mul, tensor["sides"], 1) > _MOST
    ):
        raise _strange(f"it takes {name!r:.200} for another tensor than it is")
    return name


def _check_domain(domain: str) -> None:
    if domain not in ("", "ai.onnx"):
        raise _strange(f"it has operations of {domain!r:.200}, which are not ONNX's own")


def _shapes(values: list[Message]) -> dict[str, tuple[int, ...]]:
    """Name and shape of each, all of them float32; the first side, the number of images, is free."""
    found: dict[str, tuple[int, ...]] = {}
    for value in values:
        array = _one(_one(value["type"])["array"])
        sides = [_one(side["number"]) if side["number"] else 0 for side in _one(array["shape"])["side"]]
        if _one(array["kind"]) != 1 or not sides or sides[0] != 0 or min(sides[1:], default=0) < 1:
            raise _strange(f"what goes in or comes out is of the shape {sides}; expected images of one size")
        found[_one(value["name"])] = tuple(sides)
    if len(found) != len(values):
        raise _strange("a name stands twice in it")
    return found


def _one(values: list[Any]) -> Any:
    if len(values) != 1:
        raise _strange(f"it has {len(values)} of something that it should have once")
    return values[0]


# ---- protobuf, as far as it is needed


def _message(data: memoryview, kind: str) -> Message:
    """All fields of a message, each a list of what stood there. Raises `DataError` for one that is not in `_FIELDS`."""
    known = _FIELDS[kind]
    found: Message = {name: [] for name, _ in known.values()}
    for number, wire, value in _fields(data):
        if number not in known:
            raise _strange(f"it has the field {number} in a {kind}, which plainlearn does not write")
        name, how = known[number]
        if wire == 2 and how in _FIELDS:
            found[name].append(_message(value, how))
        elif wire == 2 and how == _TEXT:
            found[name].append(bytes(value).decode())
        elif (wire == 2 and how == _BYTES) or (wire == 0 and how == _NUMBER) or (wire == 5 and how == _WORD):
            found[name].append(value)
        elif how == _NUMBERS and wire in (0, 2, 5):
            # Packed or one by one; of floats nobody here looks at the values.
            found[name] += _packed(value) if wire == 2 and name in ("sides", "ints", "longs") else [value]
        else:
            raise _strange(f"the field {name} of a {kind} is not as ONNX has it")
    return found


def _fields(data: memoryview) -> Generator[tuple[int, int, Any]]:
    """Number, wire type and value of each field."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        value: Any
        if wire == 0:
            value, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if wire == 2 else (_SIZES.get(wire, -1), at)
            if size < 0 or at + size > end:
                raise _strange("it ends within a field, or has one of no known kind")
            value, at = data[at : at + size], at + size
        yield key >> 3, wire, value


def _packed(data: memoryview) -> list[int]:
    found: list[int] = []
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    if (value := data[at]) < 0x80:  # as nearly all are
        return value, at + 1
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _strange("it holds a number of more than 64 bits")


def _strange(what: str) -> DataError:
    return DataError(f"its graph is none of plainlearn's: {what}")
