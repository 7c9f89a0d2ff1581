"""The form of one sample, which decides the first layer of a model and, where it has no pooling over all pixels, its last."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleForm:
    """What a model is built for besides the number of its outputs."""

    shape: tuple[int, ...]
    """Height, width and channels of an image; the number of tokens of a text."""
    vocabulary: int = 0
    """Different tokens of a text, padding (0) and unknown (1) among them; 0 for images."""

    @property
    def is_text(self) -> bool:
        """Whether samples are rows of tokens: the model then gets int64 [N, length], else float32 [N, channels, height, width]."""
        return len(self.shape) == 1

    @property
    def height(self) -> int:
        """Pixels."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.shape[1]

    @property
    def channels(self) -> int:
        """Of an image."""
        return self.shape[2]
