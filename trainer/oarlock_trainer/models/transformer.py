"""A transformer encoder over tokens (Vaswani et al. 2017, with the norms first): every token looks at every other."""

import torch
from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm

_DROPOUT = 0.1
_PADDING_TOKEN = 0
_FEED_FORWARD = 4
"""Width of the hidden layer after each attention, in units of the token's."""


class Transformer(nn.Module):
    """Tokens int64 [N, L] to logits [N, outputs], by the mean over the tokens that are not padding."""

    def __init__(self, form: SampleForm, outputs: int, *, width: int = 128, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        (length,) = form.shape
        self.embedding = nn.Embedding(form.vocabulary, width, padding_idx=_PADDING_TOKEN)
        self.places = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        nn.init.normal_(self.places, std=width**-0.5)
        with torch.no_grad():
            self.embedding.weight[_PADDING_TOKEN].zero_()
        layer = nn.TransformerEncoderLayer(
            width, heads, width * _FEED_FORWARD, _DROPOUT, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, outputs)
        # The encoder copies its layer, so that all would begin alike.
        for parameter in self.encoder.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        padding = tokens == _PADDING_TOKEN
        # Attention over nothing is not a number: of a text without tokens, the first padding stays visible.
        padding = padding & (torch.arange(tokens.shape[1], device=tokens.device) > 0)
        states = self.encoder(self.embedding(tokens) + self.places[: tokens.shape[1]], src_key_padding_mask=padding)
        visible = (~padding).unsqueeze(2).to(states.dtype)
        logits: Tensor = self.head((states * visible).sum(dim=1) / visible.sum(dim=1))
        return logits
