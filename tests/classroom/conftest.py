"""The grader's environment, and the notebooks that a class gets."""

import pytest
from classes import NAMES, classroom, make_environment, notebook


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    make_environment()
    folder = tmp_path_factory.mktemp("released")
    classroom("release", "--to", folder)
    return {name: notebook(folder / f"{name}.ipynb") for name in NAMES}
