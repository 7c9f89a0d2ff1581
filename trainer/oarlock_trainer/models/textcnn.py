"""Convolutions over words (Kim 2014): of each of many patterns of three to five tokens, how well its best place fits."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from oarlock_trainer.models.forms import SampleForm

_WIDTHS = (3, 4, 5)
_DROPOUT = 0.5
_PADDING_TOKEN = 0


class TextCnn(nn.Module):
    """Tokens int64 [N, L] to logits [N, outputs]."""

    def __init__(self, form: SampleForm, outputs: int, *, embedding: int = 128, filters: int = 100) -> None:
        super().__init__()
        self.embedding = nn.Embedding(form.vocabulary, embedding, padding_idx=_PADDING_TOKEN)
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, filters, width) for width in _WIDTHS)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(filters * len(_WIDTHS), outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        # Texts shorter than the widest pattern get more padding; it is embedded as zeros.
        tokens = functional.pad(tokens, (0, max(0, max(_WIDTHS) - tokens.shape[1])), value=_PADDING_TOKEN)
        embedded = self.embedding(tokens).transpose(1, 2)
        best = [functional.relu(convolution(embedded)).amax(dim=2) for convolution in self.convolutions]
        logits: Tensor = self.head(self.dropout(torch.cat(best, dim=1)))
        return logits
