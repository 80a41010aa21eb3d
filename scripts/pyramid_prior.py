"""`python scripts/pyramid_prior.py PRIOR FOLDER… -o new.npz`: a prior that was trained before tiles' lowest frequencies
were told as sums and differences, with a pyramid of them (synthesis/pyramid.py). `combiner train` does it by itself.
"""

import argparse
from pathlib import Path

from combiner_codec.format import prior as priors
from combiner_codec.format import prior_file
from combiner_codec.training.data.crops import pictures_of
from combiner_codec.training.finish import lowest
from combiner_codec.training.recipes import RECIPES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prior", help="a file, or the name of a shipped prior")
    parser.add_argument("sources", nargs="+", type=Path, help="folders of pictures, or arrays (.npy)")
    parser.add_argument("--family", choices=sorted(RECIPES), required=True, help="whose crops are taken")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    recipe = RECIPES[options.family]
    prior = priors.find(options.prior)
    points = lowest.learn(prior, recipe, pictures_of(options.sources), print)
    training = f"{prior.metadata['training']}; pyramid of {lowest.crop_count(recipe)} crops (scripts/pyramid_prior.py)"
    prior_file.save(options.output, prior.metadata | {"training": training}, recipe.finished, points)


if __name__ == "__main__":
    main()
