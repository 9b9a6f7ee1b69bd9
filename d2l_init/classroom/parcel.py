"""What comes out of a box, unpacked as if an enemy had packed it."""

from __future__ import annotations

import ast
import io
import json
import math
import re
import zipfile
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNFOLDED = 24 * 2**20  # bytes at most, of the parcel and of all answers together
MEMBERS = 200
KEPT = 4 * 2**20  # characters of output, and in one piece of text:
CUT = 20_000
DTYPE = re.compile(r"[<>|=]?[biufU]\d{1,6}")
PNG = b"\x89PNG\r\n\x1a\n"

Answer = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Ran:
    """The outputs of each cell, cleaned, and each answer's arrays; why it did not end, if so.

    In the place of an answer that cannot be read stands a sentence.
    """

    outputs: list[list[dict[str, Any]]]
    answers: dict[str, Answer | str]
    why: str


def plain(text: str) -> str:
    """The last words of a text, for a line of a table."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[-200:]


def unpack(data: bytes, secrets: Sequence[str] = ()) -> Ran:
    """The contents of a parcel; raises ValueError where they are not what they should be.

    ``secrets`` are taken out of the outputs, which students get to see.
    """
    members = _members(data)
    try:
        told = json.loads(members["ran.json"])
        outputs = list(_cleaned(told["outputs"], secrets))
        why = plain(str(told["why"]))
    except Exception as error:  # there is no end to what could be wrong
        raise ValueError(f"no report of the run: {type(error).__name__}") from None
    answers: dict[str, Answer | str] = {}
    room = UNFOLDED
    for name, content in members.items():
        if name.endswith(".npz"):
            try:
                answer = arrays(content, room)
                room -= sum(array.nbytes for array in answer.values())
                answers[name[:-4]] = answer
            except ValueError as error:
                answers[name[:-4]] = f"what was handed in cannot be read: {error}"
    return Ran(outputs, answers, why)


def arrays(npz: bytes, room: int = UNFOLDED) -> Answer:
    """The arrays of an ``.npz``: numbers and text alone; raises ValueError for all else.

    ``numpy.load`` would believe the sizes that a file claims, and parse a header of any length.
    """
    return {name.removesuffix(".npy"): _array(data) for name, data in _members(npz, room).items()}


def _members(data: bytes, room: int = UNFOLDED) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
            if len(listed) > MEMBERS or sum(one.file_size for one in listed) > room:
                raise ValueError("it holds more than it may")
            if any(one.compress_type not in (0, zipfile.ZIP_DEFLATED) for one in listed):
                raise ValueError("it is packed in another way than ours")
            # to the size that was listed and no further: see zip bombs
            return {one.filename: archive.open(one).read(one.file_size) for one in listed}
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"no whole archive: {type(error).__name__}") from None


def _array(data: bytes) -> NDArray[Any]:
    length = int.from_bytes(data[8:10], "little")
    if not data.startswith(b"\x93NUMPY\x01\x00") or length > 512:
        raise ValueError("no array of numbers")
    try:
        header = ast.literal_eval(data[10 : 10 + length].decode("ascii"))
        kind, shape = str(header["descr"]), tuple(header["shape"])
        order: Any = "CF"[header["fortran_order"]]
        if not DTYPE.fullmatch(kind) or len(shape) > 8 or min(shape, default=0) < 0:
            raise ValueError("no array of numbers")
        if math.prod(shape) * np.dtype(kind).itemsize != len(data) - 10 - length:
            raise ValueError("an array that is not of its size")
        array = np.frombuffer(data, kind, offset=10 + length).reshape(shape, order=order)
        return np.array(array.tolist()) if array.dtype.kind == "U" else array
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"no array of numbers: {type(error).__name__}") from None


def _cleaned(cells: Iterable[Any], secrets: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Outputs as text and PNG alone: a teacher's browser runs no student's script."""
    room = KEPT
    for cell in cells:
        kept = []
        for output in cell:
            clean = _output(output, secrets)
            room -= len(json.dumps(clean))
            kept += [clean] if room > 0 else []
        yield kept


def _output(output: dict[str, Any], secrets: Sequence[str]) -> dict[str, Any]:
    def text(content: Any) -> str:
        joined = content if isinstance(content, str) else "".join(map(str, content))
        cut = joined if len(joined) <= CUT else f"{joined[:CUT]}\n... (cut)"
        for secret in secrets:
            cut = cut.replace(secret, "(hidden)") if secret else cut
        return cut

    match output["output_type"]:
        case "stream":
            name = "stderr" if output["name"] == "stderr" else "stdout"
            return {"output_type": "stream", "name": name, "text": text(output["text"])}
        case "error":
            words = {"ename": text(output["ename"]), "evalue": text(output["evalue"])}
            lines = "\n".join(map(str, output["traceback"]))
            return {"output_type": "error", **words, "traceback": text(lines).split("\n")}
    data = {"text/plain": text(output["data"].get("text/plain", ""))}
    if "image/png" in output["data"]:
        picture = a2b_base64("".join(output["data"]["image/png"]))
        if picture.startswith(PNG):
            data["image/png"] = b2a_base64(picture, newline=False).decode()
    return {"output_type": "display_data", "metadata": {}, "data": data}
