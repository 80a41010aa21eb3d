import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from combiner_codec.errors import FormatError
from combiner_codec.format import prior as priors
from combiner_codec.format.candidates import order
from combiner_codec.format.streams import COST_PER_BIT, index_of, kl_table, partition

tables = hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 300)), elements=st.integers(0, 255))


def by_block(parts, block):
    """Latents and sizes of the groups of one block."""
    latents = parts.latents[parts.blocks[block] : parts.blocks[block + 1]]
    return latents, parts.dims[parts.groups[block] : parts.groups[block + 1]]


@given(tables, st.integers(1, 12))
def test_chained_groups_end_at_the_nearest_threshold(kl, group_bits):
    """Group g reaches from (g - 1/2) to (g + 1/2) group_bits of the walk; the last takes what is left."""
    parts, capacity = partition(kl, group_bits, True), group_bits * COST_PER_BIT
    for block, row in enumerate(kl):
        cost = kl_table()[row]
        latents, dims = by_block(parts, block)
        count = int(cost.sum() / capacity + 0.5)
        assert parts.counts[block] == count
        if not count:
            assert not len(latents)
            continue
        assert [i for i in order(len(row)) if cost[i]] == latents.tolist()
        group, total = np.repeat(np.arange(count), dims), cost[latents].cumsum()
        assert (total > (group - 0.5) * capacity).all()
        assert (total <= (group + 0.5) * capacity)[group < count - 1].all()


@given(tables)
def test_independent_groups_keep_within_their_budget(kl):
    parts = partition(kl, 16, False)
    for block, row in enumerate(kl):
        cost = kl_table()[row]
        latents, dims = by_block(parts, block)
        assert [i for i in order(len(row)) if cost[i]] == latents.tolist()
        starts = np.cumsum(dims) - dims
        sums = np.add.reduceat(cost[latents], starts) if len(dims) else np.zeros(0)
        assert (sums <= 16 * COST_PER_BIT).all()  # no latent costs more
        following = cost[latents][starts[1:]]
        assert (sums[:-1] + following > 16 * COST_PER_BIT).all()


@given(tables, st.integers(1, 12), st.booleans())
def test_a_block_is_cut_as_if_it_were_alone(kl, group_bits, chained):
    together = partition(kl, group_bits, chained)
    for block in range(len(kl)):
        alone = partition(kl[block : block + 1], group_bits, chained)
        for ours, theirs in zip(by_block(together, block), by_block(alone, 0), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def block_classes(prior, seed=0):
    """Random classes of some blocks' tiles, a part of them beyond the picture, a part merged: (B, n, n)."""
    n, point = prior.architecture.side, prior.operating_point(0)
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, point.single, (6, n, n))
    if len(point.merged):
        classes[:2, :2, 2:4] = rng.integers(point.single, point.classes, (2, 1, 1))
    classes[2, :, n // 2 + 1 :] = -1
    classes[3, n // 2 + 1 :] = -1
    classes[4, 1:], classes[4, :, 1:] = -1, -1
    return classes


@pytest.mark.parametrize("chained", [True, False])
def test_stream_lengths_are_those_of_the_partition(each_prior, chained):
    classes = block_classes(each_prior)
    for index in range(2):
        point = each_prior.operating_point(index)
        point = point if chained else replace(point, group_bits=point.index_bits)
        kl = point.block_kl(classes)
        expected = point.partition(kl).counts * point.group_bits
        assert point.stream_lengths(classes).tolist() == expected.tolist()
        assert expected.max() > 0


def test_tiles_beyond_the_picture_cost_nothing(each_prior):
    """A block's KL is the sum of its tiles in the picture; that of a merged tile counts once."""
    point, classes = each_prior.operating_point(1), block_classes(each_prior)
    kl = kl_table()[point.block_kl(classes)]
    assert kl.shape == (len(classes), each_prior.architecture.latents)
    for row, own in zip(kl, classes, strict=True):
        share = point.tile_bits[own] / np.where(own >= point.single, 4, 1)
        assert row.sum() == pytest.approx(COST_PER_BIT * share[own >= 0].sum())


def test_prior_files_keep_every_table(each_prior, tmp_path):
    points = [each_prior.operating_point(i) for i in range(2)]
    priors.save(tmp_path / "again.npz", each_prior.metadata, each_prior.architecture, points)
    again = priors.load_file(tmp_path / "again.npz")
    assert again.architecture == each_prior.architecture
    for i, point in enumerate(points):
        for name, value in vars(again.operating_point(i)).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, getattr(point, name), err_msg=name)
        assert again.operating_point(i).shared.keys() == point.shared.keys()


def test_kl_index_is_the_nearest():
    bits = np.linspace(0.02, 15.5, 500)
    error = np.abs(kl_table()[index_of(bits)] / COST_PER_BIT - bits)
    assert (error < 0.07 + 1 / COST_PER_BIT).all()


def test_scale_and_table_agree(each_prior):
    """log2(s / sigma) is the tabulated KL, sigma the posterior scale that goes with s."""
    point = each_prior.operating_point(1)
    noise, scale = point.posterior_scale, point.scale_of(point.kl_index[0], slice(None))
    coded = scale > 0
    assert coded.any()
    sigma2 = 1 / (1 / scale[coded] ** 2 + 1 / noise[coded] ** 2)
    bits = np.log2(scale[coded] / np.sqrt(sigma2))
    np.testing.assert_allclose(bits, kl_table()[point.kl_index[0, coded]] / COST_PER_BIT, atol=1e-3)


def test_shipped_priors_are_the_released_ones():
    total = 0
    for name in priors.MANIFEST:
        prior = priors.load(name)
        assert prior.operating_point(0).kl_index.dtype == np.uint8
        assert "training" in prior.metadata
        assert len(prior.data) < 12 << 20
        total += len(prior.data)
    assert total < 24 << 20
    assert len({number for number, _ in priors.MANIFEST.values()}) == len(priors.MANIFEST)


def test_a_shipped_prior_is_recognised_by_its_hash():
    name = next(iter(priors.MANIFEST))
    assert priors.load_file(priors.folder() / f"{name}.npz").number == priors.MANIFEST[name][0]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"words"])
def test_not_a_prior(data):
    with pytest.raises(FormatError, match="not a prior"):
        priors.parse(data, "x")


def test_priors_are_found_in_a_package_that_is_an_archive(tmp_path):
    """As zipapp and some installers make them."""
    archive, package = tmp_path / "bundle.zip", Path(priors.__file__).parents[1]
    with zipfile.ZipFile(archive, "w") as bundle:
        for path in package.rglob("*.py"):
            bundle.write(path, Path("combiner_codec") / path.relative_to(package))
        bundle.writestr("combiner_codec/priors/web.npz", priors.load("web").data)
    script = (
        "import combiner_codec\n"
        "from combiner_codec.format import prior\n"
        f"assert combiner_codec.__file__.startswith({str(archive)!r})\n"
        "print(prior.load('web').betas, flush=True)\n"
        "prior.load('small')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(archive)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == str(priors.load("web").betas), done.stderr
    assert "prior small is missing from the installation: install combiner again" in done.stderr
