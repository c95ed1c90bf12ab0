"""SHA-256 of whole files."""

from __future__ import annotations

import pytest

from plainlearn.core.errors import DownloadError, MissingFileError
from plainlearn.datasets.checksums import file_sha256, verify_file


def test_a_file_is_measured_and_compared(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == verify_file(path, known.upper()) == known
    with pytest.raises(DownloadError, match=f"its SHA-256 is {known}, expected {'0' * 64} or {'1' * 64}"):
        verify_file(path, ["0" * 64, "1" * 64])
    with pytest.raises(MissingFileError, match="there is no file"):
        file_sha256(tmp_path / "none")
