"""Learning priors: pictures -> start -> descent -> operating point, one after the other -> prior file. Needs torch.

recipes.py   architectures, settings                data.py      pictures to learn from, pictures to measure on
pictures.py  one process's share of them            shards.py    sums over all processes
family.py    one operating point after the other    draft.py     one of them while it is learned
start.py     its draft: classes and tables (classes.py, mixture.py, contexts.py), shared layers (weights.py)
descent.py   its steps (estep.py, mstep.py, log.py)
siren.py     the plain SIREN                        graphics.py  classes for tiles that no photograph has
run.py       `combiner train`
"""
