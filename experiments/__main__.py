"""`python -m experiments NAME`: what `make` calls for the tables and figures of docs."""

from importlib import import_module

import click

from combiner_codec.command.process import keep_memory
from combiner_codec.errors import CombinerError

PLACES = {  # name -> module and command; imported when they are asked for: hostile.py measures a process without torch
    "ablation": ("ablation", "command"),
    "cifar": ("cifar", "command"),
    "coarser": ("coarser", "command"),
    "corners": ("corners", "command"),
    "crop": ("crop", "command"),
    "cuda": ("cuda", "command"),
    "drift": ("reliability.commands", "drift_command"),
    "figures": ("figures", "command"),
    "flat": ("flat", "command"),
    "goals": ("growth", "goals_command"),
    "golden": ("reliability.commands", "golden_command"),
    "graphics": ("graphics", "command"),
    "growth": ("growth", "command"),
    "hard": ("reliability.commands", "hard_command"),
    "hostile": ("reliability.commands", "hostile_command"),
    "kodak": ("kodak", "command"),
    "looks": ("looks", "command"),
    "photographs": ("photographs", "command"),
    "profile": ("profile", "command"),
    "ranks": ("ranks", "command"),
    "regions": ("regions", "command"),
    "shapes": ("shapes", "command"),
    "speed": ("speed", "command"),
    "table1": ("paper", "table1_command"),
    "table2": ("paper", "table2_command"),
    "texture": ("texture", "command"),
    "thumbnails": ("thumbnails", "command"),
    "web": ("web", "command"),
    "web-speed": ("web_speed", "command"),
}


class Experiments(click.Group):
    """Commands in PLACES."""

    def list_commands(self, ctx):
        return list(PLACES)

    def get_command(self, ctx, name):
        if name not in PLACES:
            return None
        module, command = PLACES[name]
        return getattr(import_module(f"experiments.{module}"), command)


main = Experiments(help="This repository's own tables and figures.")


if __name__ == "__main__":
    keep_memory()  # as the command does
    try:
        main(prog_name="experiments")
    except CombinerError as error:
        raise SystemExit(f"experiments: {error}") from error
