"""Checkpoints: one torch file each, whole or not at all. Needs torch."""

import zipfile
from pathlib import Path

import torch

from ..errors import FormatError
from ..whole import whole_file

SAVE_EVERY = 900  # seconds between checkpoints


def write(path: Path, members: dict) -> None:
    """A file of tensors and plain values."""
    with whole_file(path) as file:
        torch.save(members, file)


def read(
    path: Path,
    plan: dict,
    names: set[str],
    device: torch.device | str = "cpu",
) -> dict:
    """The members of a checkpoint. Raises FormatError where it is damaged, of another program or of another plan.

    plan: what has to be among them as "plan", so that a run goes on with what it began with; names: of the others.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load looks at no checksum
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        members = torch.load(path, device, weights_only=True, mmap=True)
        kept = members.pop("plan")
        if members.keys() != names:
            raise ValueError("other members")
    except Exception as error:  # zipfile, pickle and torch raise many kinds on damaged files
        raise FormatError(
            f"{path}: damaged, or not a checkpoint of this command: remove it, or name another folder of checkpoints"
        ) from error
    if kept != plan:
        raise FormatError(f"{path}: made with other settings: use these, or another folder of checkpoints")
    return members
