import pytest

from combiner_codec import bench
from conftest import smooth_pictures


def test_quality_is_interpolated_between_the_neighbouring_points():
    points = [{"bpp": b, "psnr": p} for b, p in ((3.0, 36.0), (1.0, 28.0), (2.0, 33.0))]
    assert bench.at_rate(points, 1.5) == pytest.approx(30.5)
    assert bench.at_rate(points, 2.0) == pytest.approx(33.0)
    assert bench.at_rate(points, 0.8) == pytest.approx(27.0)


def test_beta_is_found_for_a_rate(tiny_prior):
    pictures = list(smooth_pictures(8, seed=4))
    sizes = []
    for rate in (0.3, 1.0):
        beta = bench.beta_for(tiny_prior, pictures, rate)
        sizes.append(bench.measure(tiny_prior, pictures, beta, effort="fast")["bpp"])
        assert sizes[-1] <= rate + 0.02
    assert sizes[0] < sizes[1]


def test_a_second_run_goes_on(tmp_path):
    point = {"bpp": 1.0, "psnr": 30.0, "encode_seconds": 0.1}
    assert bench.Rows(tmp_path / "r.json").get("row", "1", lambda: point) == point
    assert bench.Rows(tmp_path / "r.json").get("row", "1", lambda: pytest.fail("measured again")) == point


def test_groups_of_another_width_are_another_partition(tiny_prior):
    chained, independent = (bench.regroup(tiny_prior, g, 16).level(1) for g in (6, 16))
    assert chained.chained and not independent.chained
    assert (independent.bits % 16 == 0).all() and (independent.bits >= chained.bits).all()
