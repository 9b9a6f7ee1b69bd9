"""The benchmark's short form: it fails on wrong results only, never on times."""

from benchmarks import bench


def test_both_sides_of_every_comparison_give_right_results(capsys):
    bench.main("--short")
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + 12
    assert all(line.count("|") == 5 for line in table)
