"""`Dataset`: where data comes from, how it is laid out, and what becomes of it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from oarlock_api.v1alpha1.pod_template import PodTemplate, Resources
from oarlock_api.v1alpha1.values import Fraction, InnerPath, ObjectName, RelativePath, ShortText
from oarlock_api.v1alpha1.volumes import VolumeSource, VolumeSpec
from oarlock_api.wire import WireModel

PixelSize = Annotated[int, Field(ge=1, le=8192)]
Url = Annotated[str, Field(min_length=8, max_length=2048, pattern=r"^https?://[^\s]+$")]


class Task(StrEnum):
    """What is learned from the data; decides the batch, the head, the loss and the metrics."""

    IMAGE_CLASSIFICATION = "imageClassification"
    SEGMENTATION = "segmentation"
    OBJECT_DETECTION = "objectDetection"
    IMAGE_TO_IMAGE = "imageToImage"
    TEXT_CLASSIFICATION = "textClassification"
    TABULAR = "tabular"


class HttpSource(WireModel):
    """An archive, or an index page with files."""

    url: Url
    """Address."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Expected SHA-256 of the archive, in hexadecimal."""


class S3Source(WireModel):
    """Objects in an S3 bucket."""

    endpoint: Url
    """Address of the service."""
    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    """Bucket."""
    prefix: ShortText = ""
    """Prefix of the object names."""
    credentials_secret: ObjectName | None = None
    """Secret with the keys accessKeyId and secretAccessKey; absent: anonymous."""


class PackageSource(WireModel):
    """A file inside a Python package. The package is read, never installed or run."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
    """Name of the distribution."""
    version: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9.+!_-]+$")]
    """Exact version."""
    path: InnerPath
    """File or folder inside the wheel."""


class Source(WireModel):
    """Where the data comes from: exactly one of these."""

    volume: VolumeSource | None = None
    """Files that are already on a volume."""
    http: HttpSource | None = None
    """A download."""
    s3: S3Source | None = None
    """An S3 bucket."""
    package: PackageSource | None = None
    """A file inside a Python package."""


class FoldersLayout(WireModel):
    """One folder per class; the folder's name is the class."""


class TextFilesLayout(WireModel):
    """Lists of images or texts: a text file with one `path label` line per sample."""

    train: RelativePath
    """List of the training samples."""
    validation: RelativePath | None = None
    """List of the validation samples; absent: split off from the training samples."""
    labels: RelativePath | None = None
    """File with the class names, one a line; a label is a name or its place, counted from 0. Absent: the labels are the names."""


class Separator(StrEnum):
    """What stands between the columns of a table."""

    COMMA = "comma"
    SEMICOLON = "semicolon"
    TAB = "tab"


class CsvLayout(WireModel):
    """A table with one sample per row: an image, one pixel per column, or a text; .gz is read as it is."""

    label: Annotated[int, Field(ge=-1, le=1_000_000)] = -1
    """Index of the column with the class, counted from 0; -1 is the last column."""
    header: bool = False
    """Whether the first row names the columns."""
    text: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    """Index of the column with the text, as for the label; for textClassification. Absent: all columns but the label are pixels."""
    separator: Separator = Separator.COMMA
    """What stands between the columns of a table of texts; between pixels it is always a comma."""


class IdxLayout(WireModel):
    """Image and label files in the IDX format of the original MNIST; .gz is read as it is."""

    images: RelativePath
    """File with the images, relative to the source."""
    labels: RelativePath
    """File with the labels, relative to the source."""
    validation_images: RelativePath | None = None
    """File with the validation images; absent: split off from the images."""
    validation_labels: RelativePath | None = None
    """File with the validation labels."""


class KittiLayout(WireModel):
    """Object detection in the KITTI format: a text file for each image, with one object a line."""

    images: RelativePath
    """Folder with the images."""
    labels: RelativePath
    """Folder with the label files, named as the images."""


class CocoLayout(WireModel):
    """Object detection in the COCO format: one JSON file with the boxes of all images."""

    images: RelativePath
    """Folder with the images."""
    annotations: RelativePath
    """JSON file with the annotations."""


class PairsLayout(WireModel):
    """Images, each with a mask or another image of the same name but for the ending."""

    images: RelativePath
    """Folder with the images."""
    masks: RelativePath | None = None
    """Folder with the masks; for imageToImage, with the images to become. Absent, for imageToImage: the images themselves."""
    class_map: RelativePath | None = None
    """File with one class a line, `value name` or `red green blue name`; `ignore` is what is not learned. Absent: the values of the
    masks are the classes, and 255 is not learned."""


class DicomLayout(WireModel):
    """DICOM series."""

    labels: RelativePath | None = None
    """Folder with contours or masks."""


class Layout(WireModel):
    """How the source is laid out: exactly one of these."""

    folders: FoldersLayout | None = None
    """One folder of images or texts per class."""
    text_files: TextFilesLayout | None = None
    """Lists of files with labels."""
    csv: CsvLayout | None = None
    """A table of pixels or texts."""
    idx: IdxLayout | None = None
    """IDX files."""
    kitti: KittiLayout | None = None
    """KITTI boxes."""
    coco: CocoLayout | None = None
    """COCO boxes."""
    pairs: PairsLayout | None = None
    """Images and masks."""
    dicom: DicomLayout | None = None
    """DICOM series."""


class SplitFolders(WireModel):
    """Folders of the source that hold one split each."""

    train: RelativePath
    """Training samples."""
    validation: RelativePath | None = None
    """Validation samples; absent: split off from the training samples."""
    test: RelativePath | None = None
    """Test samples; absent: none."""


class Split(WireModel):
    """How samples are divided: stratified by class, the same for the same seed; or by folders of the source."""

    validation: Fraction = 0.25
    """Share of the samples for validation."""
    test: Fraction = 0
    """Share of the samples set aside for testing."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the division."""
    folders: SplitFolders | None = None
    """Folders of the source that hold one split each, laid out alike; then the shares above do not apply."""


class Channels(StrEnum):
    """Colour channels of the stored images."""

    GRAY = "gray"
    RGB = "rgb"


class Resize(StrEnum):
    """How an image gets its size."""

    SQUASH = "squash"
    CROP = "crop"
    FILL = "fill"
    SHORTER_SIDE = "shorterSide"
    NONE = "none"


class Encoding(StrEnum):
    """How pixels are stored."""

    RAW = "raw"
    PNG = "png"
    JPEG = "jpeg"


class ImageFormat(WireModel):
    """Size and form of the stored images."""

    width: PixelSize | None = None
    """Width in pixels. Absent: that of the first image; for csv, the square root of the number of columns."""
    height: PixelSize | None = None
    """Height in pixels. Absent: as for the width."""
    channels: Channels | None = None
    """Absent: gray for csv and idx, else rgb."""
    resize: Resize = Resize.SQUASH
    """squash ignores the proportions; crop cuts the centre; fill pads with black; shorterSide and none keep sizes variable."""
    encoding: Encoding = Encoding.RAW
    """raw stores decoded pixels, which is the fastest to train from."""


class Tokens(StrEnum):
    """What a text is divided into."""

    WORDS = "words"
    CHARACTERS = "characters"


class TextFormat(WireModel):
    """Form of the stored texts: numbers, as many of each text."""

    tokens: Tokens = Tokens.WORDS
    """words are runs of letters and digits in lower case, and single marks; characters are the bytes of UTF-8."""
    max_length: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Tokens kept of each text; shorter ones are filled up. Absent: 256 words or 1024 characters."""
    vocabulary: Annotated[int, Field(ge=1, le=65534)] | None = None
    """Words that are told apart: the most frequent ones of the training samples. Absent: 20000. Characters are all told apart."""


class TabularFormat(WireModel):
    """Form of the stored rows."""

    target: Annotated[str, Field(min_length=1, max_length=256)]
    """Column to predict."""


class DatasetSpec(WireModel):
    """Data to import once and to train on many times."""

    task: Task = Task.IMAGE_CLASSIFICATION
    """What is learned from the data."""
    source: Source
    """Where the data comes from: exactly one of volume, http, s3, package."""
    layout: Layout
    """How the source is laid out: exactly one of folders, textFiles, csv, idx, kitti, coco, pairs, dicom."""
    split: Split = Split()
    """How samples are divided into training, validation and test."""
    image: ImageFormat | None = None
    """Size and form of images; for image tasks."""
    text: TextFormat | None = None
    """Form of texts; for text tasks."""
    tabular: TabularFormat | None = None
    """Form of rows; for tabular tasks."""
    storage: VolumeSpec = VolumeSpec()
    """The volume on which the imported data is kept."""
    resources: Resources | None = None
    """What the import pod asks for. Absent: 2 cores and 2Gi."""
    pod_template: PodTemplate | None = None
    """What is added to the import pod."""
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """Times a failed import is tried again."""
