"""What a file of weights is, by its first bytes, and a sentence on anything else that was given in its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeAlias

Container: TypeAlias = Literal["zip", "pickle", "safetensors"]

AGAIN: Final = "copy or download it again"
_ZIP: Final = b"PK\x03\x04"
_TORCH_PICKLE: Final = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number that opens a file of torch before 1.6
_HEAD: Final = 512  # bytes that tell what a file is

# What a file begins with that is not one of tensors: what it is, and what to do.
_OTHERS: Final = (
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` where it was cloned"),
    (rb"/annex/objects|\.\./.*annex/objects", "a git-annex pointer, not the file itself", "run `git annex get` on it"),
    (
        rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)",
        "a web page (HTML)",
        "download the file behind it",
    ),
    (rb"(\xef\xbb\xbf)?\s*<", "an XML page, as a server answers an error with", "download the file itself"),
    (rb"\x1f\x8b", "a gzip archive", "unpack it (gunzip, or tar -xzf)"),
    (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "a packed archive (bzip2, xz, zstd, 7z or rar)", "unpack it"),
    (rb"(?s).{257}ustar", "a tar archive", "unpack it (tar -xf)"),
    (rb"\x80[\x02-\x05]", "a Python pickle that torch.save did not write", "save its tensors with torch.save"),
    (rb"\x89HDF", "an HDF5 file", "give the file of weights"),
    (rb"\x93NUMPY", "a numpy array", "give the file of weights"),
    (rb"\x00{64}", "zeros, as an interrupted download leaves them", AGAIN),
)


def container_of(path: Path) -> Container:
    """Return what a file is: an archive of torch.save, one of its older pickles, or safetensors.

    Raises:
        ValueError: It is missing, cannot be read, or is anything else; the sentence says what it is.
    """
    head, size = _read_head(path), path.stat().st_size
    if head.startswith(_ZIP):
        return "zip"
    if _TORCH_PICKLE in head[:32]:
        return "pickle"
    if not head:
        refuse(path, "empty", AGAIN)
    for pattern, what, remedy in _OTHERS:
        if re.match(pattern, head):
            refuse(path, what, remedy)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < max(size, 1 << 27):
        return "safetensors"
    if head.lstrip()[:1] in (b"{", b"["):
        parts = b'"weight_map"' in path.read_bytes()
        what = "the index of weights in several files" if parts else f"JSON that begins with {_shown(head)}"
        refuse(path, what, "give the file of weights, or merge its parts" if parts else "download the file itself")
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        refuse(path, f"text that begins with {_shown(head)}", "give the file of weights")
    refuse(path, f"of an unknown format (it begins with the bytes {head[:8].hex(' ')})", "give the file of weights")


def refuse(path: Path, what: str, remedy: str) -> NoReturn:
    """Raise ValueError: what a file is, what was expected, and what to do."""
    raise ValueError(
        f"weights file {path} is {what}; expected tensors in a file of torch.save or in safetensors: {remedy}"
    )


def _read_head(path: Path) -> bytes:
    if path.is_symlink() and not path.exists():
        raise ValueError(f"weights file {path} is a link to {path.readlink()}, which does not exist: {AGAIN}")
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in (".safetensors", ".pth", ".pt", ".ckpt"))
        found = f" (it has {', '.join(inside[:3])})" if inside else ""
        raise ValueError(f"weights file {path} is a folder; expected a file: give one{found}")
    if not path.is_file():
        wrong = "is no regular file" if path.exists() else "does not exist"
        raise ValueError(f"weights file {path} {wrong}; expected a .safetensors or .pth file: check the path")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise ValueError(
            f"weights file {path} cannot be read ({error.strerror}); expected a file to read: check its owner and mode"
        ) from error


def _shown(head: bytes) -> str:
    line = head.decode(errors="replace").strip().splitlines()[0]
    return repr(line[:60] + ("..." if len(line) > 60 else ""))
