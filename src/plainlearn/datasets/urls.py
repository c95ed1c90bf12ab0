"""The addresses of the course's data sets, and what is known of the archives there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

from plainlearn.core.errors import ArgumentError, ArgumentTypeError

__all__ = ["KNOWN_SHA256", "URLs", "archive_name", "archive_stem"]

_S3: Final = "https://s3.amazonaws.com/fast-ai-"


class URLs:
    """Where the course's data sets are: one `str` each, for `untar_data`.

    >>> URLs.MNIST_SAMPLE
    'https://s3.amazonaws.com/fast-ai-sample/mnist_sample.tgz'
    """

    # Small, to try things with
    ADULT_SAMPLE: Final = f"{_S3}sample/adult_sample.tgz"
    BIWI_SAMPLE: Final = f"{_S3}sample/biwi_sample.tgz"
    CAMVID_TINY: Final = f"{_S3}sample/camvid_tiny.tgz"
    CIFAR: Final = f"{_S3}sample/cifar10.tgz"
    COCO_SAMPLE: Final = f"{_S3}coco/coco_sample.tgz"
    COCO_TINY: Final = f"{_S3}coco/coco_tiny.tgz"
    DOGS: Final = f"{_S3}sample/dogscats.tgz"
    HUMAN_NUMBERS: Final = f"{_S3}sample/human_numbers.tgz"
    IMDB_SAMPLE: Final = f"{_S3}sample/imdb_sample.tgz"
    ML_100k: Final = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    ML_SAMPLE: Final = f"{_S3}sample/movie_lens_sample.tgz"
    MNIST_SAMPLE: Final = f"{_S3}sample/mnist_sample.tgz"
    MNIST_TINY: Final = f"{_S3}sample/mnist_tiny.tgz"
    MNIST_VAR_SIZE_TINY: Final = f"{_S3}imageclas/mnist_var_size_tiny.tgz"
    PLANET_SAMPLE: Final = f"{_S3}sample/planet_sample.tgz"
    PLANET_TINY: Final = f"{_S3}sample/planet_tiny.tgz"

    # Image classification
    CALTECH_101: Final = f"{_S3}imageclas/caltech_101.tgz"
    CARS: Final = f"{_S3}imageclas/stanford-cars.tgz"
    CIFAR_100: Final = f"{_S3}imageclas/cifar100.tgz"
    CUB_200_2011: Final = f"{_S3}imageclas/CUB_200_2011.tgz"
    FLOWERS: Final = f"{_S3}imageclas/oxford-102-flowers.tgz"
    FOOD: Final = f"{_S3}imageclas/food-101.tgz"
    IMAGENETTE: Final = f"{_S3}imageclas/imagenette2.tgz"
    IMAGENETTE_160: Final = f"{_S3}imageclas/imagenette2-160.tgz"
    IMAGENETTE_320: Final = f"{_S3}imageclas/imagenette2-320.tgz"
    IMAGEWANG: Final = f"{_S3}imageclas/imagewang.tgz"
    IMAGEWANG_160: Final = f"{_S3}imageclas/imagewang-160.tgz"
    IMAGEWANG_320: Final = f"{_S3}imageclas/imagewang-320.tgz"
    IMAGEWOOF: Final = f"{_S3}imageclas/imagewoof2.tgz"
    IMAGEWOOF_160: Final = f"{_S3}imageclas/imagewoof2-160.tgz"
    IMAGEWOOF_320: Final = f"{_S3}imageclas/imagewoof2-320.tgz"
    MNIST: Final = f"{_S3}imageclas/mnist_png.tgz"
    PETS: Final = f"{_S3}imageclas/oxford-iiit-pet.tgz"

    # Places in images: points, boxes, masks
    BIWI_HEAD_POSE: Final = f"{_S3}imagelocal/biwi_head_pose.tgz"
    CAMVID: Final = f"{_S3}imagelocal/camvid.tgz"
    LSUN_BEDROOMS: Final = f"{_S3}imageclas/bedroom.tgz"
    PASCAL_2007: Final = f"{_S3}imagelocal/pascal_2007.tgz"
    PASCAL_2012: Final = f"{_S3}imagelocal/pascal_2012.tgz"
    SIIM_SMALL: Final = f"{_S3}imagelocal/siim_small.tgz"
    TCGA_SMALL: Final = f"{_S3}imagelocal/tcga_small.tgz"

    # Text
    AG_NEWS: Final = f"{_S3}nlp/ag_news_csv.tgz"
    AMAZON_REVIEWS: Final = f"{_S3}nlp/amazon_review_full_csv.tgz"
    AMAZON_REVIEWS_POLARITY: Final = f"{_S3}nlp/amazon_review_polarity_csv.tgz"
    DBPEDIA: Final = f"{_S3}nlp/dbpedia_csv.tgz"
    IMDB: Final = f"{_S3}nlp/imdb.tgz"
    MT_ENG_FRA: Final = f"{_S3}nlp/giga-fren.tgz"
    SOGOU_NEWS: Final = f"{_S3}nlp/sogou_news_csv.tgz"
    WIKITEXT: Final = f"{_S3}nlp/wikitext-103.tgz"
    WIKITEXT_TINY: Final = f"{_S3}nlp/wikitext-2.tgz"
    YAHOO_ANSWERS: Final = f"{_S3}nlp/yahoo_answers_csv.tgz"
    YELP_REVIEWS: Final = f"{_S3}nlp/yelp_review_full_csv.tgz"
    YELP_REVIEWS_POLARITY: Final = f"{_S3}nlp/yelp_review_polarity_csv.tgz"

    # Sounds
    MACAQUES: Final = "https://storage.googleapis.com/ml-animal-sounds-datasets/macaques.zip"
    ZEBRA_FINCH: Final = "https://storage.googleapis.com/ml-animal-sounds-datasets/zebra_finch.zip"


# SHA-256 of the whole archive: any one of those listed will do. MNIST_SAMPLE's first was measured on the archive
# on board, its second is what FastAI.jl's registry gives for fast.ai's own file. The rest are in that registry and,
# measured by others and independently, in at least one more public repository. Hashes that only one place gives
# were left out: a wrong one would refuse a good archive. What is not here is trusted at its first use.
KNOWN_SHA256: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        URLs.MNIST_SAMPLE: (
            "a1308e143a42acc1abb2aa00a6b5468feadc9bfd92bab02424d00306f40e87e2",
            "b373a14f282298aeba0f7dd56b7cdb6c2401063d4f118c39c54982907760bd38",
        ),
        URLs.CIFAR_100: ("085ac613ceb0b3659c8072143ae553d5dd146b3c4206c3672a56ed02d0e77d28",),
        URLs.IMAGENETTE: ("6cbfac238434d89fe99e651496f0812ebc7a10fa62bd42d6874042bf01de4efd",),
        URLs.IMAGENETTE_160: ("64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5",),
        URLs.IMAGENETTE_320: ("569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",),
        URLs.MNIST: ("9e18edaa3a08b065d8f80a019ca04329e6d9b3e391363414a9bd1ada30563672",),
    }
)

_ENDINGS: Final = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".tbz", ".txz", ".tar", ".zip")


def archive_name(url: str) -> str:
    """The file name at the end of a web address.

    >>> archive_name("https://example.org/sets/my%20pets.tar.gz?version=2")
    'my pets.tar.gz'
    """
    if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]  (callers need not be typed)
        raise ArgumentTypeError(
            f"the address is of type {type(url).__name__}; expected text",
            try_="untar_data(URLs.MNIST_SAMPLE)",
        )
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise ArgumentError(
            f"{url!r} is not a web address; expected one that begins with https:// or http://",
            try_="a constant such as URLs.PETS, or extract(archive, folder) for an archive on this machine",
        )
    name = unquote(address.path.rpartition("/")[2])
    # What is no plain file name must not become a place on this machine.
    if name.strip(". ") == "" or any(sign in name for sign in "/\\:\0\n\r"):
        raise ArgumentError(
            f"{url!r} does not end with the name of a file; expected one such as .../pets.tgz"
        )
    return name


def archive_stem(name: str) -> str:
    """An archive's file name without the ending that says how it is packed.

    >>> archive_stem("mnist_sample.tgz"), archive_stem("v1.2.tar.gz"), archive_stem("notes")
    ('mnist_sample', 'v1.2', 'notes')
    """
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name
