"""The plain SIREN (COMBINER's own network): `learn.learn` gives its prior's one operating point, as `family.learn`
gives those of other families. All weights of all layers are latents; which layers there are stands in the recipe's
architecture and in the metadata of the prior file.
"""
