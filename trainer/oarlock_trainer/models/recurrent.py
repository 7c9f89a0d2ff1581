"""LSTM and GRU over tokens: read from the first to the last, and the greatest of each state over all tokens decides.

Padding follows the text and is left out of that, so a text says the same whatever length it is padded to.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from oarlock_trainer.models.forms import SampleForm

_DROPOUT = 0.3
_PADDING_TOKEN = 0
_CELLS: dict[Literal["lstm", "gru"], type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Tokens int64 [N, L] to logits [N, outputs]."""

    def __init__(
        self,
        form: SampleForm,
        outputs: int,
        *,
        cell: Literal["lstm", "gru"],
        embedding: int = 128,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(form.vocabulary, embedding, padding_idx=_PADDING_TOKEN)
        self.cells = _CELLS[cell](embedding, hidden, batch_first=True)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.cells(self.dropout(self.embedding(tokens)))
        # States lie between -1 and 1, so that -1 never wins over a token's; a text of padding alone is all -1.
        padding = (tokens == _PADDING_TOKEN).unsqueeze(2)
        strongest = torch.where(padding, -torch.ones((), dtype=states.dtype, device=states.device), states).amax(dim=1)
        logits: Tensor = self.head(self.dropout(strongest))
        return logits
