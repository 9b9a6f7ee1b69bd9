"""The chapters give the same text in any order, side by side, with any number of threads.

One round, with one thread, stands beside nbval's run, which has two (tests/conftest.py).
ROUNDS=20 in the environment runs twenty, with one and two threads in turn.
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from notebooks.rerun import run, texts

from notebooks import form

MEMORY_MB, SECONDS = 1024, 180


@pytest.mark.parametrize("number", range(int(os.environ.get("ROUNDS", "1"))))
def test_every_round_repeats_the_recorded_text_within_memory_and_time(number):
    chapters = form.chapters()
    random.Random(number).shuffle(chapters)
    threads = str(1 + number % 2)

    def once(path):
        started = time.monotonic()
        notebook, peak = run(path, OMP_NUM_THREADS=threads)
        return path, notebook, peak, time.monotonic() - started

    with ThreadPoolExecutor(2) as pool:
        for path, notebook, peak, seconds in pool.map(once, chapters):
            print(f"{path.stem}: {seconds:.1f} s, {peak:.0f} MB, {threads} threads")
            assert texts(notebook) == texts(nbformat.read(path, 4)), path.stem
            assert peak < MEMORY_MB, path.stem
            assert seconds < SECONDS, path.stem
