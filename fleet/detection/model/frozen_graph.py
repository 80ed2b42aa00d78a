"""A frozen TensorFlow graph, run by TensorFlow's C library: the one that its Python package stands on, without it.

A process that serves needs none of the package, and importing it costs more than everything else that a scorer does
until it is ready. A call with few rows is shorter without it, too. The functions are those of TensorFlow's
`tensorflow/c/c_api.h`, which it keeps stable for bindings of other languages. Neighbours: `training.autoencoder`
freezes graphs, `fleet.detection.model.network` says what is in one.
"""

import ctypes
import importlib.util
import os
import weakref
from collections.abc import Iterable
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Float32s: TypeAlias = npt.NDArray[np.float32]

INPUT: Final = "features"

_FLOAT: Final = 1  # TF_FLOAT of TF_DataType
# Operations run in the thread that calls: handing each over to another takes half of a call with few rows.
_IN_CALLERS_THREAD: Final = -1


class FrozenGraphError(Exception):
    """TensorFlow cannot read the graph, or cannot run it on what it was given; its message is TensorFlow's."""


class _Output(ctypes.Structure):
    """TF_Output: which of an operation's results."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {  # name: (result, *arguments)
    "TF_NewStatus": (c_void_p,),
    "TF_DeleteStatus": (None, c_void_p),
    "TF_GetCode": (c_int, c_void_p),
    "TF_Message": (c_char_p, c_void_p),
    "TF_NewGraph": (c_void_p,),
    "TF_DeleteGraph": (None, c_void_p),
    "TF_NewBufferFromString": (c_void_p, c_char_p, c_size_t),
    "TF_DeleteBuffer": (None, c_void_p),
    "TF_NewImportGraphDefOptions": (c_void_p,),
    "TF_DeleteImportGraphDefOptions": (None, c_void_p),
    "TF_GraphImportGraphDef": (None, c_void_p, c_void_p, c_void_p, c_void_p),
    "TF_GraphOperationByName": (c_void_p, c_void_p, c_char_p),
    "TF_NewSessionOptions": (c_void_p,),
    "TF_SetConfig": (None, c_void_p, c_char_p, c_size_t, c_void_p),
    "TF_DeleteSessionOptions": (None, c_void_p),
    "TF_NewSession": (c_void_p, c_void_p, c_void_p, c_void_p),
    "TF_DeleteSession": (None, c_void_p, c_void_p),
    "TF_SessionRun": (
        *(None, c_void_p, c_void_p),  # session, options
        *(POINTER(_Output), POINTER(c_void_p), c_int),  # what goes in
        *(POINTER(_Output), POINTER(c_void_p), c_int),  # what comes out
        *(c_void_p, c_int, c_void_p, c_void_p),  # further targets, statistics, status
    ),
    "TF_AllocateTensor": (c_void_p, c_int, POINTER(c_int64), c_int, c_size_t),
    "TF_DeleteTensor": (None, c_void_p),
    "TF_TensorType": (c_int, c_void_p),
    "TF_TensorData": (c_void_p, c_void_p),
    "TF_NumDims": (c_int, c_void_p),
    "TF_Dim": (c_int64, c_void_p, c_int),
}


class FrozenGraph:
    """Runs the named `outputs` of a serialised GraphDef whose one input is `features`, any number of rows at a time.

    `threads` may work inside one operation. Calls may come from several threads.
    """

    def __init__(self, content: bytes, outputs: Iterable[str], threads: int) -> None:
        """Raise FrozenGraphError where `content` is no graph, or one without these operations."""
        self._library = _tensorflow()
        self._graph = self._library.TF_NewGraph()
        weakref.finalize(self, self._library.TF_DeleteGraph, self._graph)
        self._import(content)
        self._input = self._operation(INPUT)
        self._outputs = {name: self._operation(name) for name in outputs}
        self._session = self._new_session(threads)
        weakref.finalize(self, _delete_session, self._library, self._session)

    def run(self, output: str, features: Float32s) -> Float32s:
        """Return what the operation `output` makes of float32[N, K].

        Raises FrozenGraphError where the shape does not suit it.
        """
        library, given, answered = self._library, self._tensor(features), c_void_p()
        try:
            with _Status(library) as status:
                library.TF_SessionRun(
                    *(self._session, None),
                    *(byref(self._input), byref(given), 1),
                    *(byref(self._outputs[output]), byref(answered), 1),
                    *(None, 0, None, status.pointer),
                )
                status.check()
            return self._array(answered)
        finally:
            for tensor in (given, answered):
                if tensor:
                    library.TF_DeleteTensor(tensor)

    def _import(self, content: bytes) -> None:
        library = self._library
        buffer = library.TF_NewBufferFromString(content, len(content))
        options = library.TF_NewImportGraphDefOptions()
        try:
            with _Status(library) as status:
                library.TF_GraphImportGraphDef(self._graph, buffer, options, status.pointer)
                status.check()
        finally:
            library.TF_DeleteImportGraphDefOptions(options)
            library.TF_DeleteBuffer(buffer)

    def _operation(self, name: str) -> _Output:
        operation = self._library.TF_GraphOperationByName(self._graph, name.encode())
        if operation is None:
            raise FrozenGraphError(f"it has no operation {name}")
        return _Output(operation, 0)

    def _new_session(self, threads: int) -> Any:
        library, config = self._library, _session_config(threads)
        options = library.TF_NewSessionOptions()
        try:
            with _Status(library) as status:
                library.TF_SetConfig(options, config, len(config), status.pointer)
                status.check()
                session = library.TF_NewSession(self._graph, options, status.pointer)
                status.check()
                return session
        finally:
            library.TF_DeleteSessionOptions(options)

    def _tensor(self, values: Float32s) -> c_void_p:
        values = np.ascontiguousarray(values, np.float32)
        shape = (c_int64 * values.ndim)(*values.shape)
        tensor = c_void_p(self._library.TF_AllocateTensor(_FLOAT, shape, values.ndim, values.nbytes))
        ctypes.memmove(self._library.TF_TensorData(tensor), values.ctypes.data, values.nbytes)
        return tensor

    def _array(self, tensor: c_void_p) -> Float32s:
        library = self._library
        if library.TF_TensorType(tensor) != _FLOAT:
            raise FrozenGraphError("it answers something else than float32")
        values = np.empty([library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor))], np.float32)
        ctypes.memmove(values.ctypes.data, library.TF_TensorData(tensor), values.nbytes)
        return values


class _Status:
    """TF_Status: whether a call went well."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.pointer = library.TF_NewStatus()

    def __enter__(self) -> "_Status":
        return self

    def __exit__(self, *_: object) -> None:
        self._library.TF_DeleteStatus(self.pointer)

    def check(self) -> None:
        if self._library.TF_GetCode(self.pointer):
            message = self._library.TF_Message(self.pointer).decode(errors="replace")
            raise FrozenGraphError(message.splitlines()[0] if message else "TensorFlow says no reason")


def _delete_session(library: ctypes.CDLL, session: int) -> None:
    with _Status(library) as status:
        library.TF_DeleteSession(session, status.pointer)


def _session_config(threads: int) -> bytes:
    """Return a ConfigProto of tensorflow/core/protobuf/config.proto: intra_op is its field 2, inter_op its field 5."""
    return b"\x10" + _varint(threads) + b"\x28" + _varint(_IN_CALLERS_THREAD)


def _varint(value: int) -> bytes:
    """Return an int32 as protocol buffers write one: seven bits a byte, negative ones as 64 bits."""
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 0x7F:
        written.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*written, value])


@cache
def _tensorflow() -> ctypes.CDLL:
    """Load the library from the installed package, whose Python is not touched."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its greetings about CPU instructions and absent GPUs
    # oneDNN compiles and keeps code for every number of rows that it is given, and a scorer is given any number.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    package = importlib.util.find_spec("tensorflow")
    folders = [Path(folder) for folder in package.submodule_search_locations or ()] if package else []
    for name in ("libtensorflow_framework", "libtensorflow_cc"):  # the second stands on the first
        found = sorted(path for folder in folders for path in folder.glob(f"{name}.*"))
        if not found:
            raise ImportError(f"{name} was not found in the tensorflow package: install it as requirements/ says.")
        library = ctypes.CDLL(str(found[0]))
    for function, (result, *arguments) in _SIGNATURES.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library
