"""Learning priors: pictures -> operating points -> prior file. Needs torch.

run.py  recipes.py          `combiner train`: options, families, metadata

data/      crops.py         folders, arrays -> random crops                                     family.py
   |                                                                                            has this
begin/     state.py         crops, or a prior -> State                                          order
   |         colour.py  mixture.py  sizes.py  points.py: classes by hard EM, closed form
together/  steps.py         a step: plan.py -> visit.py (E-step) -> network.py, optimizers.py -> m_step.py
   |         played.py  state.py  saved.py  measure.py  grow.py
finish/    points.py        State -> operating points; contexts.py: tables of the class map
             graphics.py  drawn.py  lowest.py  modulations.py  measured.py: what a prior file has besides

tables.py  points.py        the prior of one operating point; all of them, with crops and posteriors
shards.py  checkpoint.py    processes, files
siren/                      the plain SIREN, the paper's own network, in the place of all but data and run.py
"""
