"""AlexNet in its form for one GPU (Krizhevsky 2014): five convolutions, three linear layers with dropout.

Parameters have the names of torchvision's, and at 224 pixels the shapes. For other sizes the first linear layer is as large as
the last map is; torchvision's adaptive pooling to 6 by 6 has no deterministic gradient on CUDA.
"""

from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm

_DROPOUT = 0.5


def _side_after_convolutions(side: int) -> int:
    side = (side + 2 * 2 - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


class AlexNet(nn.Module):
    """[N, C, H, W] to logits [N, outputs]; 61 million parameters for colour images of 224 by 224 and 1,000 classes."""

    def __init__(self, form: SampleForm, outputs: int, *, width: int = 64, hidden: int = 4096) -> None:
        super().__init__()
        widths = (width, 3 * width, 6 * width, 4 * width, 4 * width)
        self.features = nn.Sequential(
            nn.Conv2d(form.channels, widths[0], 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(widths[0], widths[1], 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(widths[1], widths[2], 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(widths[2], widths[3], 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(widths[3], widths[4], 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        pixels = _side_after_convolutions(form.height) * _side_after_convolutions(form.width)
        self.classifier = nn.Sequential(
            nn.Dropout(_DROPOUT),
            nn.Linear(widths[4] * pixels, hidden),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits
