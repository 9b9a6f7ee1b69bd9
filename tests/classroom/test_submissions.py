"""Whose a file is, and what is taken from it; what comes out of a box is not believed."""

import io
import json
import zipfile

import nbformat
import numpy as np
import pytest

from d2l_init.classroom.box import NotGraded
from d2l_init.classroom.parcel import arrays, unpack
from d2l_init.classroom.submissions import handed_in, restored

NAMES = ["01-first", "02-second"]


def found(folder, *files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return {one.file: one for one in handed_in(folder, NAMES)}


@pytest.mark.parametrize(
    ("file", "student"),
    {
        "alice_02-second.ipynb": "alice",
        "alice_12345_assignsubmission_file_02-second.ipynb": "alice",  # Moodle
        "Jörg Müller_12345_assignsubmission_file/02-second.ipynb": "Jörg Müller",
        "wangli_LATE_77_88_02-second-1.ipynb": "wangli",  # Canvas
        "alice_02-second (1).ipynb": "alice",  # a browser
        "submitted/alice/02-second/02-second.ipynb": "alice",  # nbgrader
        "class A/o'neil_02-second.ipynb": "o'neil",
    }.items(),
)
def test_a_file_belongs_to_whom_it_names_first(tmp_path, file, student):
    one = found(tmp_path, file)[file]
    assert (one.student, one.assignment, one.why) == (student, "02-second", "")


@pytest.mark.parametrize(
    "file",
    ["02-second.txt", "alice.ipynb", "alice_03-third.ipynb", ".._02-second.ipynb",
     "*_02-second.ipynb", "[a-z]_02-second.ipynb", ".ssh_02-second.ipynb", "alice_02-second.py"],
)  # fmt: skip
def test_a_name_that_fits_nobody_is_refused_with_a_reason(tmp_path, file):
    assert found(tmp_path, file)[file].why


def test_two_files_of_one_student_for_one_exercise_are_both_refused(tmp_path):
    files = "alice_01-first.ipynb", "alice_9_01-first.ipynb", "alice_02-second.ipynb"
    assert [bool(found(tmp_path, *files)[file].why) for file in files] == [True, True, False]


def test_a_name_shows_no_line_break_in_the_table(tmp_path):
    assert list(found(tmp_path, "a\nb\x1b[2J.ipynb")) == ["a?b?[2J.ipynb"]


def cell(source, grade_id="", *, solution=False, kind="code", **more):
    told = {"grade_id": grade_id, "solution": solution, "locked": not solution}
    metadata = {"nbgrader": told} if grade_id else {}
    return {"cell_type": kind, "id": f"id-{grade_id or source}", "source": source,
            "metadata": metadata} | more  # fmt: skip


def released():
    cells = [cell("setup"), cell("stub", "a", solution=True), cell("check", "a-check"),
             cell("stub", "b", solution=True)]  # fmt: skip
    return nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def sources(cells, **more):
    content = json.dumps({"nbformat": 4, "cells": cells} | more)
    return [cell.source for cell in restored(released(), content.encode()).cells]


ANSWER = cell("answer", "a", solution=True)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([], ["setup", "stub", "check", "stub"]),
        ([ANSWER], ["setup", "answer", "check", "stub"]),
        ([cell("evil", "a-check"), ANSWER], ["setup", "answer", "check", "stub"]),
        ([ANSWER, cell("stub", "a", solution=True)], ["setup", "answer", "check", "stub"]),
        ([cell("first", "a"), ANSWER], ["setup", "answer", "check", "stub"]),
        ([cell("evil") | {"id": "id-setup"}], ["setup", "stub", "check", "stub"]),
        ([ANSWER, cell("own")], ["setup", "answer", "own", "check", "stub"]),
        ([cell("own"), ANSWER], ["own", "setup", "answer", "check", "stub"]),
        ([cell(["an", "swer"], "a")], ["setup", "answer", "check", "stub"]),
    ],
)
def test_only_answers_and_cells_of_ones_own_are_taken(cells, expected):
    assert sources(cells) == expected


def test_a_text_brings_no_html_into_a_teachers_browser():
    own = sources([cell("1 < 2, a<b, <script>x</script>", kind="markdown")])[0]
    assert own == "1 < 2, a< b, < script>x< /script>"


@pytest.mark.parametrize(
    ("content", "why"),
    {
        b"": "no notebook",
        b"null": "no notebook",
        b"\xff\xfe": "no notebook",
        b"[" * 10**5: "no notebook",
        b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}': "no notebook",
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": 1, "source": ""}]}': "no not",
        b'{"nbformat": 3, "worksheets": []}': "format 3",
        json.dumps({"nbformat": 4, "cells": [cell("x")] * 501}).encode(): "more, or longer",
        json.dumps({"nbformat": 4, "cells": [cell("x" * 200_001)]}).encode(): "or longer",
    }.items(),
)
def test_what_is_no_notebook_is_refused_with_a_reason(content, why):
    with pytest.raises(NotGraded, match=why):
        restored(released(), content)


def npz(**values):
    file = io.BytesIO()
    np.savez(file, **values)
    return file.getvalue()


def packed(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "values", [np.arange(6.0).reshape(2, 3), np.float32(1), np.array("é"), np.eye(3).T, True]
)
def test_arrays_come_out_as_they_went_in(values):
    found = arrays(npz(values=values))["values"]
    assert found.shape == np.shape(values)
    assert (found == values).all()


def head(text, body=b""):
    """An array as a file, whose header says what it likes."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + body


def claim(**what):
    return str({"descr": "<f8", "fortran_order": False, "shape": ()} | what)


@pytest.mark.parametrize(
    "content",
    {
        "objects": npz(a=np.array([print, {}], dtype=object)),
        "records": npz(a=np.zeros(2, dtype=[("x", "f8")])),
        "times": npz(a=np.zeros(2, dtype="M8[s]")),
        "no archive": b"PK" * 99,
        "cut off": npz(a=np.zeros(99))[:-300],
        "no array": packed(a="hello"),
        "larger than it is": packed(a=head(claim(shape=(10**9,)))),
        "negative": packed(a=head(claim(shape=(-1, -1)), bytes(8))),
        "deep header": packed(a=head("(" * 500)),
        "long header": packed(a=head(" " * 60_000)),
        "wrong letters": packed(a=head(claim(descr="<U1"), b"\xff" * 4)),
        "bomb": packed(a=bytes(100 * 2**20)),
        "many": packed(**{f"{n}": "" for n in range(201)}),
    }.values(),
)  # fmt: skip
def test_arrays_that_are_none_are_refused(content):
    with pytest.raises(ValueError, match=r"\w"):
        arrays(content)


def test_a_member_that_is_larger_than_it_says_is_refused():
    honest = packed(a=bytes(10**6))
    lying = honest.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(ValueError, match="no whole archive"):
        arrays(lying)


def ran(outputs, why="", **answers):
    told = json.dumps({"outputs": [outputs], "why": why})
    return unpack(packed(**{"ran.json": told} | answers), secrets=["4711"])


def test_outputs_are_text_and_pictures_alone_and_hide_the_seeds():
    data = {"text/html": "<script>", "text/plain": "seed 4711", "image/png": "bm8gcGljdHVyZQ=="}
    (found,) = ran([{"output_type": "display_data", "data": data}]).outputs[0]
    assert found["data"] == {"text/plain": "seed (hidden)"}


def test_a_long_output_is_cut():
    text = "x" * 10**6
    (found,) = ran([{"output_type": "stream", "name": "stdout", "text": text}]).outputs[0]
    assert len(found["text"]) < 30_000


def test_an_answer_that_cannot_be_read_is_a_sentence_and_spoils_no_other():
    answers = ran([], **{"a.npz": b"?", "b.npz": npz(x=1)}).answers
    assert "cannot be read" in answers["a"]
    assert answers["b"]["x"] == 1


def test_answers_share_the_room_that_there_is():
    zeros = io.BytesIO()
    np.savez_compressed(zeros, x=np.zeros(10**6))
    members = {f"{n}.npz": zeros.getvalue() for n in range(5)}
    held = [isinstance(answer, str) for answer in ran([], **members).answers.values()]
    assert held == [False, False, False, True, True]


@pytest.mark.parametrize("data", [b"", packed(), packed(**{"ran.json": "{}"}), b"x" * 10**6])
def test_a_parcel_without_a_report_is_refused(data):
    with pytest.raises(ValueError, match=r"\w"):
        unpack(data)
