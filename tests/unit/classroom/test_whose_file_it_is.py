"""Whose a file is, by its name, in the forms in which learning platforms give it."""

from pathlib import Path

import pytest

from d2l_init.classroom.submissions import handed_in, identified

NAMES = ["01-default", "02-built-in"]


@pytest.mark.parametrize(
    "name",
    [
        "alice_02-built-in.ipynb",
        "alice_17_assignsubmission_file_02-built-in.ipynb",
        "alice_1234_02-built-in-2.ipynb",
        "group 1/alice_02-built-in (1).ipynb",
        "alice/02-built-in.ipynb",
        "alice_99_assignsubmission_file/02-built-in.ipynb",
        "alice/02-built-in/02-built-in.ipynb",
    ],
)
def test_a_file_belongs_to_whom_its_name_or_folder_names_first(name):
    one = identified(Path(name), name, NAMES)
    assert (one.student, one.assignment, one.why) == ("alice", "02-built-in", "")


@pytest.mark.parametrize("name", ["02-built-in.ipynb", "alice.ipynb", "alice_02-built-in.py"])
def test_a_file_of_nobody_or_of_no_exercise_is_not_graded(name):
    assert "its name is not of the form" in identified(Path(name), name, NAMES).why


def test_two_files_of_one_student_for_one_exercise_are_both_left(tmp_path):
    for name in ("alice_01-default.ipynb", "alice_2_01-default.ipynb", "bob_01-default.ipynb"):
        (tmp_path / name).write_text("{}")
    *two, bob = handed_in(tmp_path, NAMES)
    assert all("keep the one that counts" in one.why for one in two)
    assert not bob.why
