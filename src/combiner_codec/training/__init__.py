"""Learning priors: pictures -> operating points -> prior file. Needs torch.

recipes.py      architectures, settings              data.py      pictures to learn from, pictures to measure on
shards.py       sums over all processes              graphics.py  classes for tiles that no photograph has
run.py          `combiner train`

All operating points at once, end to end (photographs):
crops.py        random crops                         begin.py       classes and posteriors in closed form
joint.py        the network of all points            persistent.py  posteriors that persist, M-steps
together.py     steps                                checkpoint.py  what is kept
endtoend.py     the order of it all, log             contexts.py    tables of the class map

One operating point after the other (thumbnails):
pictures.py     one process's share of them          draft.py       a point while it is learned
family.py       start, descent, next                 start.py       its draft: classes and tables (classes.py,
                                                     mixture.py), shared layers (weights.py)
descent.py      its steps (estep.py, mstep.py, log.py)

siren.py        the plain SIREN
"""
