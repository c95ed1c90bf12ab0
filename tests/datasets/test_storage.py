"""Where data are kept, what is said when they cannot be kept there, and SHA-256 of whole files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from plainlearn.core.errors import DownloadError, MissingFileError
from plainlearn.datasets.download import URLs, untar_data
from plainlearn.datasets.storage import cache_home, file_sha256, verify_file


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("PLAINLEARN_MIRROR", raising=False)
    monkeypatch.setenv("PLAINLEARN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_cache_folder_that_is_a_file_is_named(home, tmp_path):
    home.write_text("not a folder")
    with pytest.raises(DownloadError) as caught:
        untar_data(URLs.MNIST_SAMPLE)
    assert f"{home / 'data' / 'mnist_sample'} cannot be used: {home} is a file; expected a folder" in str(
        caught.value
    )
    assert "export PLAINLEARN_HOME=" in str(caught.value)


def test_a_file_in_place_of_the_data_is_named(home):
    (home / "data").mkdir(parents=True)
    (home / "data" / "mnist_sample").write_text("not a folder")
    with pytest.raises(DownloadError, match="mnist_sample is a file; expected a folder"):
        untar_data(URLs.MNIST_SAMPLE)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such modes there")
def test_a_cache_folder_that_may_not_be_written_is_named(home, monkeypatch):
    if os.geteuid():
        home.mkdir(mode=0o555)
    elif Path("/sys/kernel").is_dir():
        home = Path("/sys/kernel")  # where not even root may write
        monkeypatch.setenv("PLAINLEARN_HOME", str(home))
    else:
        pytest.skip("root may write everywhere here")
    with pytest.raises(DownloadError) as caught:
        untar_data(URLs.MNIST_SAMPLE)
    assert f"{home / 'data'} cannot be written: " in str(caught.value)
    assert "expected a folder that this user may write" in str(caught.value)
    assert "Try export PLAINLEARN_HOME=" in str(caught.value)


def test_the_cache_is_where_the_variable_says_or_where_the_system_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("PLAINLEARN_HOME", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / "somewhere"
    monkeypatch.setenv("PLAINLEARN_HOME", "")
    assert cache_home().is_relative_to(tmp_path)
    assert "plainlearn" in cache_home().parts


def test_a_file_is_measured_and_compared(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == verify_file(path, known.upper()) == known
    with pytest.raises(DownloadError, match=f"its SHA-256 is {known}, expected {'0' * 64} or {'1' * 64}"):
        verify_file(path, ["0" * 64, "1" * 64])
    with pytest.raises(MissingFileError, match="there is no file"):
        file_sha256(tmp_path / "none")
