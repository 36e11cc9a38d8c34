"""Tensors that models share stand once: files of safetensors in which each tensor is named by its digest."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


class TensorStore:
    """A folder of tensors: of what is put into it, what is not there yet becomes one more file."""

    def __init__(self, folder: Path) -> None:
        """Begin an empty one."""
        self.folder, self.files, self.sizes = folder, dict[str, str](), dict[str, int]()  # by a tensor's digest

    def put(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
        """Store tensors; return the digest of each by its name."""
        digests = {name: _digest(tensor) for name, tensor in tensors.items()}
        new = {digest: tensors[name] for name, digest in digests.items() if digest not in self.files}
        if new:
            file = f"{len(set(self.files.values())):03d}.safetensors"
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({digest: tensor.detach().cpu().clone() for digest, tensor in new.items()}, self.folder / file)
            (self.folder / file).chmod(0o644)  # safetensors lets nobody else read it
            self.files |= dict.fromkeys(new, file)
            self.sizes |= {digest: tensor.nbytes for digest, tensor in new.items()}
        return digests


def read_tensors(folder: Path, digests: Mapping[str, str], files: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Return tensors by their names, for their digests and the file that holds each digest."""
    tensors: dict[str, torch.Tensor] = {}
    for file in {files[digest] for digest in digests.values()}:
        with safe_open(str(folder / file), framework="pt") as opened:
            here = [(name, digest) for name, digest in digests.items() if files[digest] == file]
            tensors |= {name: opened.get_tensor(digest) for name, digest in here}
    return tensors


def _digest(tensor: torch.Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    named = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)} ".encode())
    named.update(flat.data)
    return named.hexdigest()[:20]
