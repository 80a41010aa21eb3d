"""Learning priors: pictures -> operating points -> prior file. Needs torch.

run.py          `combiner train`                     recipes.py     architectures, settings
shards.py       sums over all processes              data.py        pictures to measure a finished prior on

All operating points at once, end to end:
endtoend.py     the order of it all, log             crops.py       random crops
begin.py        classes and posteriors in closed     colour.py      the colour map
                form                                 mixture.py     classes by hard EM
sizes.py        classes of tiles of two sizes        tables.py      priors while they are learned
together.py     steps                                joint.py       the network of all points
persistent.py   posteriors that persist, M-steps     sample.py      samples of them, gradients
checkpoint.py   what is kept                         contexts.py    tables of the class map
graphics.py     classes for tiles that no photograph has

siren.py        the plain SIREN
"""
