"""The addresses of the course's data sets."""

from __future__ import annotations

from plainlearn.datasets.urls import KNOWN_SHA256, URLs, archive_name, archive_stem


def test_every_constant_is_the_https_address_of_an_archive():
    addresses = {name: value for name, value in vars(URLs).items() if not name.startswith("_")}
    assert {"MNIST", "MNIST_TINY", "PETS", "CAMVID", "BIWI_HEAD_POSE", "PASCAL_2007", "HUMAN_NUMBERS"} < set(
        addresses
    )
    for address in addresses.values():
        assert address.startswith("https://")
        assert archive_name(address) not in ("", archive_stem(archive_name(address)))
    assert len({archive_name(address) for address in addresses.values()}) == len(addresses)
    assert set(KNOWN_SHA256) <= set(addresses.values())


def test_known_checksums_look_like_checksums():
    for known in KNOWN_SHA256.values():
        assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in known)
