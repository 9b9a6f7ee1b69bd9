"""A whole class, by hand: ``python tests/classroom/whole.py FOLDER``, about twenty minutes.

Nine assignments, twelve submissions each, graded with two workers and with one: points as they
must be, seconds for each, and a run that is killed five times and gives the same table.
"""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from classes import NAMES, ROOT, Student, classroom, command, grading, notebook, rows


def doubled(student):
    student.book["cells"] = [cell for cell in student.cells for _ in "ab"]
    return student


def without_checks(student):
    student.book["cells"] = [cell for cell in student.cells if not grading(cell).get("locked")]
    return student


def backwards(student):
    student.cells.reverse()
    return student


def boasting(student):
    for cell in student.cells:
        if grading(cell).get("locked"):
            cell["source"], cell["metadata"]["nbgrader"]["points"] = "100", 100
    student.points = {}
    return student


def crossed(student):
    student.book["cells"] = [new for cell in student.cells for new in (cell, error())]
    return student


def error():
    return {"cell_type": "code", "id": f"e{random.random()}"[:12].replace(".", ""), "metadata": {},
            "source": "1 / 0", "outputs": [], "execution_count": None}  # fmt: skip


def class_of(released, name):
    """Twelve notebooks by student; the points of each, or None where it must not be graded."""
    ids = list(Student(released, name).points)

    def student(*without):
        return Student(released, name, without)

    made = {
        "solver": student(),
        "nobody": student(*ids),
        "first": student(ids[0]),
        "second": student(ids[1]),
        "last": student(ids[-1]),
        "doubler": doubled(student()),
        "deleter": without_checks(student()),
        "shuffler": backwards(student()),
        "boaster": boasting(student(*ids)),
        "stumbler": crossed(student()),
        "leaver": student().add("import os; os._exit(0)"),
    }
    reader = student()
    reader.book, reader.points = notebook(ROOT / f"notebooks/exercises/{name}.ipynb"), {}
    made["reader"] = reader
    expected = {who: sum(one.points.values()) for who, one in made.items()}
    return made, expected | {"leaver": None}


def seconds(call):
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def main(folder):
    released_folder = folder / "released"
    classroom("release", "--to", released_folder)
    released = {name: notebook(released_folder / f"{name}.ipynb") for name in NAMES}
    handed_in, expected = folder / "handed-in", {}
    handed_in.mkdir()
    for name in NAMES:
        made, points = class_of(released, name)
        for who, one in made.items():
            expected[one.hand_in(handed_in, f"{who}{name[:2]}").name] = points[who]

    wrong = {}
    times = {}
    for workers in (2, 1):
        grades = folder / f"grades-{workers}.csv"
        times[workers] = seconds(
            lambda: classroom("grade", handed_in, "--to", grades, "--workers", workers)  # noqa: B023
        )
        for row in rows(grades).values():
            want = expected[row["file"]]
            right = row["points"] == "" if want is None else float(row["points"] or -1) == want
            if not right:
                wrong[row["file"]] = (row, want)
    count = len(expected)
    print(json.dumps(wrong, indent=1, ensure_ascii=False))
    print(f"{count} files, {len(wrong)} not as expected")
    print(
        {workers: f"{spent:.0f} s, {spent / count:.2f} s each" for workers, spent in times.items()}
    )
    print("speed-up", round(times[1] / times[2], 2))

    grades = folder / "killed.csv"
    for _ in range(5):
        run = subprocess.Popen(command("grade", handed_in, "--to", grades), cwd=ROOT, stderr=-3)
        time.sleep(random.uniform(3, times[2] / 4))
        run.send_signal(signal.SIGKILL)
        run.wait()
    classroom("grade", handed_in, "--to", grades)
    same = grades.read_text() == (folder / "grades-2.csv").read_text()
    print("killed five times: the table is", "the same" if same else "ANOTHER")
    return bool(wrong) or not same


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
