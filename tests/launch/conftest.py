"""A copy of the project to start from."""

import pytest
from launching import copy_project


@pytest.fixture
def clone(tmp_path):
    """The project's files in a folder whose name has a space and a letter outside ASCII."""
    folder = tmp_path / "fresh clone é"
    copy_project(folder)
    return folder
