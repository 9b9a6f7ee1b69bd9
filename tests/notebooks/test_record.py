"""Recording: the same file twice, and the old file whenever something fails."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FIGURE = """\
from matplotlib.figure import Figure
figure = Figure()
figure.subplots().plot([1, 3, 2])
figure"""


@pytest.fixture
def notebook(tmp_path):
    def write(*sources):
        path = tmp_path / "chapter.ipynb"
        cells = [new_markdown_cell("# Title"), *map(new_code_cell, sources)]
        nbformat.write(new_notebook(cells=cells), path)
        return path

    return write


def record(path, **options):
    command = [sys.executable, "-m", "d2l_init", "record", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_the_second_recording_changes_nothing_and_metadata_is_any_machines(notebook):
    path = notebook("%matplotlib inline\n1 + 1", FIGURE, "for n in range(3):\n    print(n)")
    first = record(path)
    assert first.returncode == 0, first.stderr
    assert "changed" in first.stderr
    assert " s, " in first.stderr
    recorded = path.read_bytes()
    assert b"image/png" in recorded
    again = record(path)
    assert "unchanged" in again.stderr
    assert path.read_bytes() == recorded
    saved = nbformat.read(path, 4)
    assert saved.metadata.kernelspec.name == "python3"
    assert "version" not in saved.metadata.language_info
    assert all("execution" not in cell.metadata for cell in saved.cells)


def test_the_readers_own_settings_leave_no_trace(notebook, tmp_path):
    path = notebook(
        "%matplotlib inline\nimport matplotlib", FIGURE, "matplotlib.rcParams['font.size']"
    )
    assert record(path).returncode == 0
    before = path.read_bytes()
    home = tmp_path / "home"
    startup = home / ".ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("print('hello')")
    svg = "c.InlineBackend.figure_formats = {'svg'}"
    (home / ".ipython/profile_default/ipython_kernel_config.py").write_text(svg)
    (home / ".config/matplotlib").mkdir(parents=True)
    (home / ".config/matplotlib/matplotlibrc").write_text("figure.dpi: 150\nfont.size: 20\n")
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    environment = {k: v for k, v in environment.items() if k not in ("IPYTHONDIR", "MPLCONFIGDIR")}
    again = record(path, env=environment)
    assert "unchanged" in again.stderr, again.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("source", "message"),
    [("1 / 0", "ZeroDivisionError"), ("import os\nos._exit(9)", "DeadKernelError")],
    ids=["failing cell", "killed kernel"],
)
def test_a_run_that_fails_leaves_the_file_and_names_the_cell(notebook, source, message):
    path = notebook("1 + 1", source, "2 + 2")
    before = path.read_bytes()
    ran = record(path)
    assert ran.returncode == 1
    assert "chapter.ipynb: cell 3" in ran.stderr
    assert message in ran.stderr
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["chapter.ipynb"]


def test_a_recording_stopped_by_any_signal_leaves_the_file(notebook, tmp_path):
    """Three at once, each of a copy."""
    path = notebook("open(PLACE, 'w').close()", "import time\ntime.sleep(30)")
    running = []
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        copy, begun = tmp_path / f"{signum}.ipynb", tmp_path / f"begun {signum}"
        copy.write_text(path.read_text().replace("PLACE", repr(str(begun))))
        command = [sys.executable, "-m", "d2l_init", "record", str(copy)]
        recorder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        running.append((signum, recorder, copy, copy.read_bytes(), begun))
    for signum, recorder, copy, before, begun in running:
        wait_for(begun)
        recorder.send_signal(signum)
        _, told = recorder.communicate(timeout=60)
        assert recorder.returncode != 0
        assert copy.read_bytes() == before
        assert ("as it was" in told) == (signum != signal.SIGKILL)


def wait_for(path):
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear within a minute")


@pytest.mark.parametrize("name", ["missing.ipynb", "notes.txt"])
def test_a_path_that_is_no_notebook_is_named(tmp_path, name):
    (tmp_path / "notes.txt").touch()
    ran = record(tmp_path / name)
    assert ran.returncode == 1
    assert name in ran.stderr
