"""Do the chapters give the same text in any order, side by side, with one thread and with two?

    python tests/notebooks/rounds.py 20

runs them twenty times and stops at the first that differs, or takes too much memory or time. The
suite has two runs of each chapter: nbval's with two threads, the browser's with one.
"""

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import form
import nbformat
from rerun import run, texts

MEMORY_MB, SECONDS = 1024, 180


def once(path, threads):
    started = time.monotonic()
    notebook, memory = run(path, OMP_NUM_THREADS=threads)
    seconds = time.monotonic() - started
    same = texts(notebook) == texts(nbformat.read(path, 4))
    print(f"{path.stem}: {seconds:.1f} s, {memory:.0f} MB, {threads} threads, same: {same}")
    return same and memory < MEMORY_MB and seconds < SECONDS


def main(rounds: int) -> int:
    for number in range(rounds):
        chapters = form.chapters()
        random.Random(number).shuffle(chapters)
        threads = [str(1 + number % 2)] * len(chapters)
        with ThreadPoolExecutor(2) as pool:
            if not all(pool.map(once, chapters, threads)):
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
