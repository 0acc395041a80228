"""What is given in place of a file of weights, and what files of torch.save hold beside their tensors."""

from __future__ import annotations

import argparse
import collections
import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from mambaseg_core.tensor_files import read_metadata, read_tensors

WEIGHTS = {"a.weight": torch.arange(600.0), "a.bias": torch.ones(2, dtype=torch.bfloat16)}


def saved(content: Any = WEIGHTS, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


ARCHIVE, PICKLE, SAFETENSORS = saved(), saved(_use_new_zipfile_serialization=False), save(WEIGHTS)


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("best.pth"))
    return buffer.getvalue()


def numpy_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def with_a_flipped_bit() -> bytes:
    data = bytearray(ARCHIVE)
    data[data.index(np.arange(600, dtype=np.float32).tobytes()) + 1201] ^= 1
    return bytes(data)


@pytest.mark.parametrize("name", ["x.pth", "x.PTH", "x.pth.tar", "x.ckpt", "x.bin", "x.safetensors", "x"])
@pytest.mark.parametrize("data", [ARCHIVE, PICKLE, SAFETENSORS], ids=["archive", "pickle", "safetensors"])
def test_a_file_is_taken_for_what_its_bytes_say(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found = read_tensors(tmp_path / name)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[key], tensor) and found[key].dtype == tensor.dtype for key, tensor in WEIGHTS.items())
    assert read_metadata(tmp_path / name) == {}


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102400000\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty; .*download it again"),
        (LFS, r"is a Git LFS pointer, .*git lfs pull"),
        (b"/annex/objects/SHA256E-s10--4d7a.pth\n", r"is a git-annex pointer, .*git annex get"),
        (b"<!DOCTYPE html><html>", r"is a web page \(HTML\)"),
        (b"\xef\xbb\xbf\r\n<HTML lang='en'>", r"is a web page \(HTML\)"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", r"is an XML page"),
        (b'{"message": "Not Found"}', r"is JSON that begins with '\{\"message\": \"Not Found\"\}'"),
        (b"[]", r"is JSON that begins with '\[\]'"),
        (json.dumps({"weight_map": {"a": "b"}}, indent=2).encode(), r"is the index of weights in several files"),
        (b"Access denied.\n", r"is text that begins with 'Access denied\.'"),
        (b"\0" * 4096, r"is zeros"),
        (b"\x08\x07\x12\x07pytorch", r"of an unknown format \(it begins with the bytes 08 07 12 07 70 79 74 6f\)"),
        (gzip.compress(ARCHIVE), r"is a gzip archive; .*unpack it"),
        (tarred(), r"is a tar archive; .*unpack it"),
        (zipped(best__pth=ARCHIVE), r"is a zip archive of best\.pth; .*unpack it"),
        (pickle.dumps({"a": 1}), r"is a Python pickle that torch\.save did not write"),
        (numpy_file(), r"is a numpy array"),
        (
            zipped(**{"net/data__pkl": b"", "net/constants__pkl": b"", "net/code/a__py": b""}),
            r"is a TorchScript program; .*state_dict\(\)",
        ),
        (ARCHIVE[:300], r"is cut: a zip archive of 300 bytes"),
        (ARCHIVE[:-1], r"is cut: a zip archive of \d+ bytes"),
        (PICKLE[:-100], r"is cut: it ends after \d+ bytes"),
        (PICKLE[:100], r"is cut: it ends after 100 bytes"),
        (SAFETENSORS[:-100], r"is cut: safetensors of at least \d+ bytes, of which \d+ are there"),
        (SAFETENSORS[:40], r"is cut: safetensors of at least \d+ bytes, of which 40 are there"),
        (with_a_flipped_bit(), r"is damaged: data/\d in it does not match its checksum"),
        (saved(pickle_protocol=4), r"of a pickle protocol that torch reads only by running code"),
        (saved([1, 2]), r"holds a list; expected a dict of tensors"),
    ],
)
def test_anything_else_is_named_in_one_sentence(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "best.pth"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no\.pth does not exist"):
        read_tensors(tmp_path / "no.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(ValueError, match=r"pipe\.pth is no regular file"):
        read_tensors(tmp_path / "pipe.pth")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_bytes(SAFETENSORS)
    with pytest.raises(ValueError, match=r"run is a folder; expected a file: give one \(it has best\.safetensors\)"):
        read_tensors(tmp_path / "run")
    (tmp_path / "link.pth").symlink_to("../blobs/4d7a")
    with pytest.raises(ValueError, match=r"link\.pth is a link to \.\./blobs/4d7a, which does not exist"):
        read_tensors(tmp_path / "link.pth")


@pytest.mark.parametrize("zip_file", [True, False], ids=["archive", "pickle"])
@pytest.mark.parametrize(
    "value",
    [np.float64(0.5), np.float32(2), np.bool_(True), np.arange(3), np.array(["a"]), np.datetime64(1, "s")],
    ids=lambda value: str(value.dtype),
)
def test_numpy_beside_the_tensors_is_read(tmp_path: Path, value: Any, zip_file: bool) -> None:
    path = tmp_path / "best.pth"
    path.write_bytes(saved({"model": WEIGHTS, "best": value}, _use_new_zipfile_serialization=zip_file))
    before = set(torch.serialization.get_safe_globals())
    found = read_tensors(path)
    assert np.array_equal(found["best"], value)
    assert found["model"].keys() == WEIGHTS.keys()
    assert set(torch.serialization.get_safe_globals()) == before


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("this must not be printed",))


@pytest.mark.parametrize("zip_file", [True, False], ids=["archive", "pickle"])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (argparse.Namespace(lr=1), r"argparse\.Namespace"),
        (collections.defaultdict(list), r"collections\.defaultdict"),
        (Path("/data"), r"pathlib\.\w*PosixPath|pathlib\._local\.PosixPath"),
        (Hostile(), r"(builtins\.)?print"),
        (np.array([argparse.Namespace()], object), r"argparse\.Namespace"),
    ],
    ids=["Namespace", "defaultdict", "Path", "hostile", "inside an array"],
)
def test_a_class_in_the_way_is_named_and_never_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], value: Any, name: str, zip_file: bool
) -> None:
    path = tmp_path / "best.pth"
    path.write_bytes(saved({"model": WEIGHTS, "args": value}, _use_new_zipfile_serialization=zip_file))
    with pytest.raises(ValueError, match=rf"it holds more \(({name})\).*torch\.save\(torch\.load\('best\.pth'"):
        read_tensors(path)
    assert "printed" not in "".join(capfd.readouterr())


def test_a_whole_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    path.write_bytes(saved(torch.nn.Sequential(torch.nn.Linear(2, 2))))
    with pytest.raises(
        ValueError, match=r"a whole model \(torch\.nn\.modules\.container\.Sequential, .*state_dict\(\)"
    ):
        read_tensors(path)


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        (tmp_path / "best.pth").write_bytes(saved())
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_tensors(tmp_path / "best.pth").keys() == WEIGHTS.keys()


def cut(data: bytes, at: int, byte: int) -> bytes:
    return data[: at % len(data)]


def overwrite(data: bytes, at: int, byte: int) -> bytes:
    at %= min(len(data), 1200)
    return data[:at] + bytes([byte]) + data[at + 1 :]


@settings(max_examples=150)
@given(
    which=st.integers(0, 2),
    change=st.sampled_from([cut, overwrite]),
    at=st.integers(0, 1 << 16),
    byte=st.integers(0, 255),
)
def test_damaged_bytes_raise_one_sentence_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, which: int, change: Callable[..., bytes], at: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged{os.getpid()}.pth"
    path.write_bytes(change((ARCHIVE, PICKLE, SAFETENSORS)[which], at, byte))
    try:
        assert isinstance(read_tensors(path), dict)
    except ValueError as error:
        assert str(error).startswith(f"weights file {path}")  # noqa: PT017
