"""Sweeps: the same frame wherever the points are run, and nothing lost where one fails."""

import functools
import inspect
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dask
import joblib
import mxnet as mx
import numpy as onp
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from jupyter_client.manager import start_new_kernel
from mxnet import autograd, np, npx
from mxnet.gluon import nn

import d2l_init as di
from d2l_init.lab.sweeps import sweep

ROOT = Path(__file__).parents[2]


# joblib stays in this process where the system has no semaphores, as without /dev/shm.
PROCESSES = joblib.effective_n_jobs(2) > 1
needs_processes = pytest.mark.skipif(not PROCESSES, reason="no semaphores to start processes with")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes; one death is enough for Dask to give a task up."""
    if not PROCESSES:
        pytest.skip("no semaphores to start processes with")
    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=60
        ) as started,
        Client(started),
    ):
        yield started


@pytest.fixture(params=["one process", "two processes", "threads", "dask"])
def places(request):
    """A context in which sweeps run there."""
    if request.param == "dask":
        request.getfixturevalue("cluster")
    return {
        "one process": functools.partial(joblib.parallel_config, n_jobs=1),
        "two processes": functools.partial(joblib.parallel_config, n_jobs=2),
        "threads": functools.partial(joblib.parallel_config, "threading", n_jobs=2),
        "dask": functools.partial(joblib.parallel_config, "dask"),
    }[request.param]


def signal_and_gradient(width, depth, seed):
    """A net as chapters write them: it needs npx.set_np() and draws from its seed alone."""
    net = nn.HybridSequential()
    for layer in range(depth):
        net.add(nn.Dense(width, activation="tanh", in_units=width, prefix=f"dense{layer}_"))
    net.initialize(di.glorot_normal(seed=seed))
    X = np.array(onp.random.default_rng(seed).normal(size=(8, width)), dtype="float32")
    X.attach_grad()
    with autograd.record():
        out = (net(X) ** 2).mean()
    out.backward()
    return {"mean_square": out, "gradient": np.abs(X.grad).sum(), "ndim": out.ndim}


NETS = {"width": [10, 30], "depth": [1, 4], "seed": [0, 1, 2]}


@pytest.fixture(scope="module")
def by_hand():
    with mx.util.np_shape(True), mx.util.np_array(True):
        rows = [
            (width, depth, seed, *map(float, signal_and_gradient(width, depth, seed).values()))
            for width in NETS["width"]
            for depth in NETS["depth"]
            for seed in NETS["seed"]
        ]
    return pd.DataFrame(rows, columns=[*NETS, "mean_square", "gradient", "ndim"])


@pytest.mark.usefixtures("numpy_semantics")
def test_a_net_gives_the_same_frame_everywhere_as_a_loop_by_hand(places, by_hand):
    with places():
        frame = sweep(signal_and_gradient, NETS)
    # float32 sums, whose order may follow the number of threads
    pd.testing.assert_frame_equal(frame, by_hand, check_dtype=False, rtol=1e-5)
    assert list(frame.columns) == list(by_hand.columns)


def slowest_first(x, y=0):
    time.sleep(0.1 if x == 0 else 0)
    return x + y


def test_rows_are_in_the_order_of_the_grid_whichever_came_first(places):
    with places():
        frame = sweep(slowest_first, {"x": range(6)})
    assert frame.to_dict("list") == {"x": list(range(6)), "value": list(range(6))}


def test_the_last_name_is_the_fastest():
    frame = sweep(slowest_first, {"y": (10, 20), "x": onp.array([1, 2, 3])})
    assert list(zip(frame.y, frame.x, strict=True)) == [
        (10, 1), (10, 2), (10, 3), (20, 1), (20, 2), (20, 3)
    ]  # fmt: skip


def test_points_that_are_listed_are_taken_as_they_are():
    frame = sweep(slowest_first, [{"x": 1}, {"x": 2, "y": 5}, {"x": 1}])
    assert frame.value.tolist() == [1, 7, 1]
    assert frame.y.isna().tolist() == [True, False, True]
    assert list(frame.columns) == ["x", "y", "value"]


def fails_at_three(x):
    if x == 3:
        raise KeyError("three")
    return {"square": x**2}


def test_a_point_that_fails_is_reported_in_its_row_and_loses_nothing_else(places):
    with places():
        frame = sweep(fails_at_three, {"x": range(6)})
    assert frame.error[3] == "KeyError: 'three'"
    assert frame.error.isna().sum() == 5
    assert frame.square.dropna().tolist() == [0, 1, 4, 16, 25]
    assert list(frame.columns) == ["x", "square", "error"]


def leaves_at_one(x):
    if x == 1:
        sys.exit("enough")
    return x


def test_a_point_that_exits_is_reported_in_its_row(places):
    with places():
        frame = sweep(leaves_at_one, {"x": range(3)})
    assert frame.error.fillna("").tolist() == ["", "SystemExit: enough", ""]
    assert frame.value.dropna().tolist() == [0, 2]


def test_without_failures_there_is_no_column_for_them():
    assert "error" not in sweep(slowest_first, {"x": [1]})


@pytest.fixture
def process_id():
    def function(x):
        time.sleep(0.05)
        return os.getpid()

    return function


@needs_processes
def test_it_uses_the_cores_that_the_process_may_use_unless_told_otherwise(process_id):
    here = os.getpid()
    with joblib.parallel_config(n_jobs=1):
        assert set(sweep(process_id, {"x": range(3)}).value) == {here}
    with joblib.parallel_config(n_jobs=2):
        used = set(sweep(process_id, {"x": range(20)}).value)
    assert len(used) == 2
    assert here not in used
    used = set(sweep(process_id, {"x": range(20)}).value)
    assert 1 <= len(used) <= joblib.cpu_count()
    assert (here in used) == (joblib.cpu_count() == 1)


def test_a_cluster_runs_every_point_on_its_workers(process_id, cluster):
    with joblib.parallel_config("dask"):
        used = set(sweep(process_id, {"x": range(20)}).value)
    assert used == {worker.pid for worker in cluster.workers.values()}


def test_closures_lambdas_and_sweeps_within_sweeps_run_everywhere(places):
    factor = 3
    with places():
        frame = sweep(lambda x: sweep(lambda y: x * y * factor, {"y": [1, 2]}).value.sum(),
                      {"x": [1, 2, 3]})  # fmt: skip
    assert frame.value.tolist() == [9, 18, 27]


def test_functions_of_a_script_run_in_other_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import joblib
        from d2l_init.lab.sweeps import sweep
        offset = 10
        def shifted(x):
            return x + offset
        if __name__ == "__main__":
            with joblib.parallel_config(n_jobs=2):
                print(sweep(shifted, {"x": [1, 2]}).value.tolist())
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "[11, 12]\n"
    assert done.stderr == ""


@pytest.mark.usefixtures("numpy_semantics")
def test_arrays_of_mxnet_may_stand_in_the_grid_in_the_function_and_in_results(places):
    inside = np.array(2.0)  # of a shape that only NumPy semantics have

    def function(gain):
        assert type(gain) is float
        return {"one": inside * gain, "many": np.arange(3) * gain, "shape": np.ones(()).shape}

    with places():
        frame = sweep(function, {"gain": np.array([0.5, 4.0])})
    assert frame.gain.tolist() == [0.5, 4.0]
    assert frame.one.tolist() == [1.0, 8.0]
    assert type(frame.many[1]) is onp.ndarray
    assert frame.many[1].tolist() == [0.0, 4.0, 8.0]
    assert frame["shape"].tolist() == [(), ()]


def test_numpy_semantics_are_as_they_are_here_and_left_so(places):
    def semantics(x):
        return {"shape": npx.is_np_shape(), "array": npx.is_np_array()}

    with places():
        assert sweep(semantics, {"x": [0, 1, 2]})["array"].tolist() == [False] * 3
        with mx.util.np_shape(True), mx.util.np_array(True):
            assert sweep(semantics, {"x": [0, 1, 2]})["array"].tolist() == [True] * 3
        assert sweep(semantics, {"x": [0, 1, 2]})["shape"].tolist() == [False] * 3
    assert not npx.is_np_array()


def of_x(x):
    return x


BAD = [
    ({}, ValueError, "grid must hold at least one point, got {}"),
    ([], ValueError, r"grid must hold at least one point, got \[\]"),
    ({"x": []}, ValueError, r"grid\['x'\] must hold at least one value, got \[\]"),
    ({"x": 3}, TypeError, r"grid\['x'\] must be a sequence of values, got 3"),
    ({"x": "relu"}, TypeError, r"grid\['x'\] must be a sequence of values, got 'relu'"),
    (None, TypeError, "grid must map names of arguments .* got None"),
    ("x", TypeError, "grid must map names of arguments .* got 'x'"),
    ([{"x": 1}, 2], TypeError, "grid must map names of arguments .* got 2"),
    ({"x": [1], "y": [2]}, TypeError, r"of_x\(x\), got {'x': 1, 'y': 2}: .*'y'"),
    ([{"x": 1}, {}], TypeError, r"of_x\(x\), got {}: missing a required argument: 'x'"),
    ({"error": [1]}, ValueError, "grid must not name an argument 'error'"),
]


@pytest.mark.parametrize(("grid", "kind", "message"), BAD, ids=[str(case[0]) for case in BAD])
def test_a_bad_grid_is_refused_with_its_name_the_rule_and_the_value(grid, kind, message):
    with pytest.raises(kind, match=message):
        sweep(of_x, grid)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="function must be callable, got 3"):
        sweep(3, {"x": [1]})


@needs_processes
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_what_cannot_be_sent_to_other_processes_is_refused_before_anything_runs(backend, cluster):
    lock, ran = threading.Lock(), []

    def locked(x):
        ran.append(x)
        with lock:
            return 1

    with joblib.parallel_config(backend, n_jobs=2):
        with pytest.raises(TypeError, match=r"function must be picklable .*got .*locked.*lock"):
            sweep(locked, {"x": [1, 2]})
        with pytest.raises(TypeError, match=r"grid must be picklable .*got .*lock"):
            sweep(of_x, {"x": [1, lock]})
    assert ran == []
    with joblib.parallel_config(n_jobs=1):
        assert sweep(locked, {"x": [1, 2]}).value.tolist() == [1, 1]


RETURNS = [
    (None, "TypeError: function must return a number or a mapping .* got None"),
    ("3", "TypeError: function must return a number or a mapping .* got '3'"),
    (onp.zeros(2), "TypeError: function must return a number or a mapping"),
    ({"x": 1}, r"ValueError: a result must not have the name of an argument .*\['x'\]"),
    ({"error": 1}, r"ValueError: a result must not have the name .* or 'error': \['error'\]"),
    ({"y": threading.Lock()}, "TypeError: cannot pickle"),
]


@pytest.mark.parametrize(("returned", "message"), RETURNS, ids=range(len(RETURNS)))
def test_a_result_that_has_no_place_in_the_frame_is_reported_in_its_row(returned, message):
    with joblib.parallel_config(n_jobs=1):
        [error] = sweep(lambda x: returned, {"x": [1]}).error
    assert pd.Series([error]).str.match(message).all(), error


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=needs_processes)])
def test_an_interrupt_stops_it_and_the_processes(tmp_path, n_jobs):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import joblib, os, pathlib, sys, time
        from d2l_init.lab.sweeps import sweep
        def slow(x):
            pathlib.Path(sys.argv[1], str(os.getpid())).touch()
            time.sleep(60)
        if __name__ == "__main__":
            with joblib.parallel_config(n_jobs={n_jobs}):
                sweep(slow, {{"x": range(4)}})
        """)
    )
    folder = tmp_path / "running"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, script, folder], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(folder.iterdir())) == n_jobs)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert words.rstrip().endswith("KeyboardInterrupt")
    wait_until(lambda: not any(is_running(file.name) for file in folder.iterdir()))


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(process_id):
    return Path("/proc", process_id).exists()


def slow(x):
    time.sleep(0.15)
    return x


CELL = f"""\
import time
from d2l_init.lab.sweeps import sweep
import joblib
{inspect.getsource(slow)}
print("before")
with joblib.parallel_config(n_jobs=1):
    print(sweep(slow, {{"x": range(8)}}).value.sum())"""


@pytest.fixture(scope="module")
def shown_by_a_notebook():
    """What a cell shows to a reader, who can answer input(), and to recorders and tests."""
    manager, client = start_new_kernel()
    shown = {True: [], False: []}
    try:
        for reader, messages in shown.items():
            client.execute_interactive(
                CELL, allow_stdin=reader, output_hook=messages.append, timeout=60
            )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    kinds = ("display_data", "update_display_data", "stream")
    return {
        reader: [(m["msg_type"], m["content"]) for m in messages if m["msg_type"] in kinds]
        for reader, messages in shown.items()
    }


def printed(shown):
    return "".join(content["text"] for kind, content in shown if kind == "stream")


def test_the_progress_bar_leaves_nothing_in_a_notebook_that_nobody_reads(shown_by_a_notebook):
    shown = shown_by_a_notebook[False]
    assert {kind for kind, _ in shown} == {"stream"}
    assert {content["name"] for _, content in shown} == {"stdout"}
    assert printed(shown) == "before\n28\n"


def test_a_reader_of_a_live_notebook_sees_the_bar_move_and_go(shown_by_a_notebook):
    shown = shown_by_a_notebook[True]
    bars = [content["data"] for kind, content in shown if "display_data" in kind]
    assert [kind for kind, _ in shown].count("display_data") == 1
    assert "0/8" in bars[0]["text/plain"]
    assert re.search("[1-7]/8", "".join(bar.get("text/plain", "") for bar in bars))
    assert bars[-1] == {}
    assert printed(shown) == "before\n28\n"


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
def test_a_terminal_shows_the_bar_and_a_file_does_not(terminal, monkeypatch):
    file = io.StringIO()
    file.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", file)
    with joblib.parallel_config(n_jobs=1):
        sweep(slow, {"x": range(3)})
    assert bool(re.search("[12]/3", file.getvalue())) == terminal
    assert terminal or not file.getvalue()


# What follows ends worker processes: nothing after it should wait for new ones.


@needs_processes
def test_settings_of_the_backend_are_respected():
    def threads(x):
        return int(os.environ["OMP_NUM_THREADS"])

    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=3):
        assert sweep(threads, {"x": [0, 1]}).value.tolist() == [3, 3]


@needs_processes
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_point_that_takes_its_process_down_loses_nothing_else(backend, cluster):
    def dies_at_three(x):
        if x == 3:
            os._exit(9)
        return x

    with joblib.parallel_config(backend, n_jobs=2):
        frame = sweep(dies_at_three, {"x": range(6)})
    named = {"loky": "TerminatedWorkerError: ", "dask": "KilledWorker: "}[backend]
    assert frame.error[3].startswith(named)
    assert frame.value.dropna().tolist() == [0, 1, 2, 4, 5]
