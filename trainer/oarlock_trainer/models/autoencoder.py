"""A convolutional autoencoder: an image through few numbers and back, learned from images alone."""

from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm
from oarlock_trainer.models.padding import pad_to_multiple

_HALVINGS = 3
_CODE_CHANNELS = 8


class Autoencoder(nn.Module):
    """[N, C, H, W] to [N, outputs, H, W] through eight numbers for each 8 by 8 pixels."""

    def __init__(self, form: SampleForm, outputs: int, *, width: int = 32) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(_HALVINGS)]
        encoder: list[nn.Module] = []
        for inputs, each in zip((form.channels, *widths), widths, strict=False):
            encoder += [nn.Conv2d(inputs, each, 3, stride=2, padding=1), nn.ReLU()]
        decoder: list[nn.Module] = [nn.Conv2d(_CODE_CHANNELS, widths[-1], 3, padding=1), nn.ReLU()]
        for inputs, each in zip(reversed(widths), (*reversed(widths[:-1]), width), strict=True):
            decoder += [nn.ConvTranspose2d(inputs, each, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(widths[-1], _CODE_CHANNELS, 3, padding=1))
        self.decoder = nn.Sequential(*decoder)
        self.head = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        code = self.encoder(pad_to_multiple(images, 2**_HALVINGS))
        output: Tensor = self.head(self.decoder(code))
        return output[..., :height, :width]
