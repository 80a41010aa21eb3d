import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from combiner_codec import prior as priors
from combiner_codec.errors import FormatError
from combiner_codec.prior import UNIT, kl_index, kl_table, partition

tables = hnp.arrays(np.uint8, st.integers(1, 300), elements=st.integers(0, 255))


@given(tables, st.integers(1, 12))
def test_chained_groups_spend_the_rounded_total(kl, group_bits):
    latents, dims, bits = partition(kl, group_bits, 16)
    assert bits.sum() == (int(kl_table()[kl].sum()) + UNIT // 2) // UNIT
    assert len(latents) == dims.sum() and (dims > 0).all() and (bits > 0).all()
    assert len(set(latents.tolist())) == len(latents) and (kl_table()[kl[latents]] > 0).all()


@given(tables)
def test_independent_groups_keep_within_their_budget(kl):
    latents, dims, bits = partition(kl, 16, 16)
    cost = kl_table()[kl[latents]]
    sums = np.add.reduceat(cost, np.cumsum(dims) - dims) if len(dims) else np.zeros(0)
    assert (sums <= 16 * UNIT).all() and (bits == 16).all()
    assert len(latents) == (kl_table()[kl] > 0).sum()


def test_kl_index_is_the_nearest():
    bits = np.linspace(0.02, 15.5, 500)
    error = np.abs(kl_table()[kl_index(bits)] / UNIT - bits)
    assert (error < 0.07 + 1 / UNIT).all()


def test_scale_and_table_agree(tiny_prior):
    """log2(s / sigma) is the tabulated KL, sigma the posterior scale that goes with s."""
    level = tiny_prior.level(0)
    coded = level.scale[0] > 0
    sigma2 = 1 / (1 / level.scale[0, coded] ** 2 + 1 / level.noise[coded] ** 2)
    bits = np.log2(level.scale[0, coded] / np.sqrt(sigma2))
    np.testing.assert_allclose(bits, kl_table()[level.kl[0, coded]] / UNIT, atol=1e-3)


def test_shipped_priors_are_the_released_ones():
    total = 0
    for name in priors.MANIFEST:
        prior = priors.load(name)
        assert prior.level(0).kl.dtype == np.uint8
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
