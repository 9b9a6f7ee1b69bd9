"""What holds for the whole suite: its order, skips under REQUIRE_ALL, the time of each notebook."""

import os
import signal
import sys
import tempfile
from collections import defaultdict
from importlib.util import find_spec
from unittest import mock

import pytest

SLOWEST = 180  # seconds for one notebook; machines differ sevenfold


# The longest modules, longest first: one that begins last would run beside an idle worker.
LONGEST = """test_chapters_in_lab test_cuda_build test_sagemaker test_fresh_clone
    test_grading test_wicked test_book test_pdf test_slides
    07-let-the-data-decide 06-edge-of-chaos 05-keeping-signals-alive 08-residual-and-attention
    09-your-own-net test_chapter_08 test_explore_in_lab test_training_depth test_sweep test_record
    test_binder test_reproducible""".split()  # noqa: SIM905


def pytest_configure(config):
    # A shell's background job ignores Ctrl-C, and all that it starts does.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # As plugins of their own they see notebooks and doctests too, which are not below this folder.
    config.pluginmanager.register(SemanticsRestored())
    config.pluginmanager.register(KernelsOfTheirOwn())
    if find_spec("torchvision") is None:  # tests/torch would pass for torch
        config.pluginmanager.register(PyTorchApart())
    if os.environ.get("REQUIRE_ALL"):
        config.pluginmanager.register(RequireAll())


class SemanticsRestored:
    """npx.set_np() in a test or a doctest ends with it."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        before = numpy_semantics_now()
        try:
            return (yield)
        finally:
            if numpy_semantics_now() != before:
                sys.modules["mxnet"].npx.set_np(*before)


def numpy_semantics_now():
    if "mxnet" not in sys.modules:
        return False, False
    npx = sys.modules["mxnet"].npx
    return bool(npx.is_np_shape()), npx.is_np_array()


class PyTorchApart:
    """What `make test-torch` runs in an environment of its own is not looked at."""

    def pytest_ignore_collect(self, collection_path):
        names = collection_path.name, collection_path.parent.name
        own = names[0].startswith("torch_") or names == ("torch", "tests")
        return True if own or names[0] == "10-the-same-in-pytorch.ipynb" else None


class KernelsOfTheirOwn:
    """nbval's kernels have two threads, whatever the machine, and see no settings of the user's."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.own = {
            "OMP_NUM_THREADS": "2",
            "OMP_WAIT_POLICY": "passive",  # two that spin take both cores from the other worker
            "IPYTHONDIR": self.folder.name,
            "MATPLOTLIBRC": os.devnull,
        }

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        with mock.patch.dict(os.environ, self.own if item.path.suffix == ".ipynb" else {}):
            return (yield)

    def pytest_unconfigure(self):
        self.folder.cleanup()


@pytest.fixture
def numpy_semantics():
    """What chapters have: MXNet's NumPy semantics."""
    from mxnet import npx

    npx.set_np()  # ends with the test: see SemanticsRestored


class RequireAll:
    """A skip is a failure, except that of a test marked gpu."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        report = yield
        return report if item.get_closest_marker("gpu") else without_skip(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self):
        return without_skip((yield))


def without_skip(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but REQUIRE_ALL is set: {report.longrepr}"
    return report


def pytest_collection_modifyitems(items):
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
    if not (os.environ.get("CI") or os.environ.get("REQUIRE_ALL")):
        skip_marked(items, "install", "installs more libraries: set CI or REQUIRE_ALL")
    if any(item.get_closest_marker("gpu") for item in items):
        from mxnet import context

        if context.num_gpus() == 0:
            skip_marked(items, "gpu", "MXNet sees no GPU on this machine")


def skip_marked(items, mark, reason):
    for item in items:
        if item.get_closest_marker(mark):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    seconds = seconds_by_notebook(terminalreporter)
    if seconds:
        terminalreporter.section("seconds for each notebook")
    for notebook, spent in sorted(seconds.items()):
        terminalreporter.line(f"{notebook:<50} {spent:6.1f}")


def seconds_by_notebook(terminalreporter):
    seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            path = getattr(report, "nodeid", "").split("::")[0]
            if path.endswith(".ipynb"):
                seconds[path] += getattr(report, "duration", 0.0)
    return seconds


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    slow = {path: spent for path, spent in seconds_by_notebook(reporter).items() if spent > SLOWEST}
    if slow:
        reporter.line(f"slower than {SLOWEST} s: {slow}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
