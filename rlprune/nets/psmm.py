"""The pointer sentinel mixture model: an LSTM with a softmax, and a pointer to words just read (Merity et al., 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlprune.pruning.groups import Anatomy, Group, Member

NEVER = -1e30
"""The logit of what cannot be. Its probability and slopes of any order are zero; of infinity they would be no numbers."""


class PSMM(nn.Module):
    """``p(w) = g p_vocabulary(w) + Σ_{i ≤ t, x_i = w} a_i``, where ``[a, g] = softmax([q·h_1, …, q·h_t, q·s])``.

    ``h`` are the states of one LSTM cell, its gates in the order i, f, g, o; ``q = tanh(W h_t + b)`` is the query, ``s`` the
    sentinel. The pointer sees the whole chunk up to the present word, and every chunk starts from a state of zeros.

    Args:
        words: size of the vocabulary.
        hidden: width of embedding and state; the paper's small network has 300.
    """

    def __init__(self, words: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, hidden)
        self.inputs = nn.Linear(hidden, 4 * hidden)
        self.recurrence = nn.Linear(hidden, 4 * hidden)
        self.query = nn.Linear(hidden, hidden)
        self.sentinel = nn.Linear(hidden, 1, bias=False)
        self.output = nn.Linear(hidden, words)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the log-probability of every word as the next one, [N, T, words], for words [N, T]."""
        states = self._states(ids)
        attention = self._attention(states, 1.0)
        pointed = torch.zeros(*ids.shape, self.output.out_features, dtype=attention.dtype, device=ids.device)
        places = ids[:, None].expand(-1, ids.shape[1], -1)
        pointed = pointed.scatter_add(2, places, attention[..., :-1].exp())
        return torch.logaddexp(attention[..., -1:] + self.output(states).log_softmax(2), pointed.log())

    def logp(self, ids: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the log-probability of the targets alone, [N, T], for words and targets [N, T].

        Args:
            ids: the words read.
            targets: the words that follow them.
            temperature: divides the logits of vocabulary and pointer.
        """
        states = self._states(ids)
        attention = self._attention(states, temperature)
        logits = (self.output(states) / temperature).flatten(0, 1)
        spoken = -functional.cross_entropy(logits, targets.flatten(), reduction="none").view(ids.shape)
        pointed = attention[..., :-1].masked_fill(targets[:, :, None] != ids[:, None], NEVER)
        # torch.logaddexp would do, but its second derivative is no number where nothing points to the target
        return torch.cat([pointed, (attention[..., -1] + spoken)[..., None]], 2).logsumexp(2)

    def _states(self, ids: Tensor) -> Tensor:
        """Return the state after each word, [N, T, hidden]."""
        driven = self.inputs(self.embedding(ids))
        state = memory = driven.new_zeros(ids.shape[0], self.recurrence.in_features, dtype=self.embedding.weight.dtype)
        states = []
        for step in driven.unbind(1):
            i, f, g, o = (step + self.recurrence(state)).chunk(4, 1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            state = o.sigmoid() * memory.tanh()
            states.append(state)
        return torch.stack(states, 1)

    def _attention(self, states: Tensor, temperature: float) -> Tensor:
        """Return the logarithm of the attention to each word of the chunk and, last, to the sentinel, [N, T, T + 1]."""
        query = self.query(states).tanh()
        length = states.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=states.device).triu(1)
        logits = torch.cat([(query @ states.mT).masked_fill(later, NEVER), self.sentinel(query)], 2)
        return (logits / temperature).log_softmax(2)

    def anatomy(self) -> Anatomy:
        """Return what may be pruned: all matrices; channels of the embedding, and units of the LSTM.

        A unit is a number of the state and, as the pointer multiplies them, the same number of query and sentinel.
        """
        gates = [Member(f"{layer}.{own}", 0, True, outer=4) for layer in ("inputs", "recurrence") for own in ("weight", "bias")]
        query = [Member(f"query.{own}", 0, produces=True) for own in ("weight", "bias")]
        read = [Member(f"{layer}.weight", 1) for layer in ("recurrence", "query", "sentinel", "output")]
        hidden = self.embedding.embedding_dim
        groups = [
            Group("embedding", hidden, (Member("embedding.weight", 1, produces=True), Member("inputs.weight", 1))),
            Group("lstm", hidden, (*gates, *query, *read)),
        ]
        layers = ("embedding", "inputs", "recurrence", "query", "output")
        return Anatomy({"network": [f"{layer}.weight" for layer in layers]}, {"network": groups}, heads=["output.weight"])
