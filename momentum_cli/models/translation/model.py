"""An encoder-decoder with attention.

Axes: B batch, S tokens of a source, T tokens of a target, E embedding, H hidden, M memory, R readout, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from momentum_cli.data import NOT_SCORED, Batch
from momentum_cli.data.translation.subwords import START
from momentum_cli.dynamics.state import State
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.layers.stack import locked_dropout
from momentum_cli.messages import Said, refuse
from momentum_cli.models.cross_entropy import linear_cross_entropy
from momentum_cli.models.inputs import Tokens
from momentum_cli.models.model import Answered, LossSum, Model, TrainingLoss
from momentum_cli.models.stream import ModelStream
from momentum_cli.models.translation.search import Search, Tensors, Translator, translate

_GREEDY = Search()


class Memory(NamedTuple):
    """The encoded source, which the decoder reads.

    Args:
        values: (B, S, M) outputs of the encoder.
        keys: (B, S, H), the values as they are compared with the state of the decoder.
        there: (B, S) bool, False for padding.
    """

    values: Tensor
    keys: Tensor
    there: Tensor


class TranslationModel(Model):
    """A model that reads a sentence and writes another.

    Tokens are embedded as √E times their row of a table. The encoder reads the source: ``m_s`` are its outputs. The
    decoder starts from ``tanh(W_b [last output of each direction])`` and reads the tokens before; with its output
    ``h_t``::

        a_t = softmax_s(h_t · W_a m_s);  c_t = Σ_s a_ts m_s;  r_t = tanh(W_c [c_t, h_t]);  p_t = softmax(W r_t + b)

    With `input_feeding` the decoder also reads ``r_{t-1}``, so that it knows what it has attended to.

    Args:
        encoder: One or two directions, input size E.
        decoder: Input size E, or E + R with `input_feeding`; as many layers as the encoder, of the same size H.
        source_size: V of the source.
        target_size: V of the target.
        readout_size: R.
        tied: ``"target"``: the embedding of the target is W, which requires R = E; ``"all"``: and that of the source
            too, which requires one vocabulary; ``"none"``.
        input_feeding: Feed ``r_{t-1}`` to the decoder, see above.
        embedding_dropout: Probability in [0, 1) of dropping a token from an embedding matrix, drawn once per batch.
        input_dropout: Probability in [0, 1) of dropping a channel of the embedded tokens, one mask per sentence, as for
            the next two.
        memory_dropout: Probability in [0, 1) of dropping a channel of the outputs of the encoder.
        output_dropout: Probability in [0, 1) of dropping a channel of ``r_t``.
        label_smoothing: Share of each target that is spread evenly over all tokens in training, in [0, 1).
        search: Options of the search with which `answer` translates.

    Raises:
        ValueError: An option is outside its range, or sizes do not fit together.

    Reference: Luong, Pham, Manning, Effective Approaches to Attention-based Neural Machine Translation, arXiv
    1508.04025, with the score "general"; the start of the decoder is that of Bahdanau, Cho, Bengio, arXiv 1409.0473.
    """

    layer: RecurrentLayer
    output: Literal["every"] = "every"

    def __init__(
        self,
        encoder: RecurrentLayer,
        decoder: RecurrentLayer,
        source_size: int,
        target_size: int,
        readout_size: int,
        *,
        tied: str = "none",
        input_feeding: bool = True,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        memory_dropout: float = 0.0,
        output_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        search: Search = _GREEDY,
    ) -> None:
        super().__init__()
        given = {"embedding_dropout": embedding_dropout, "input_dropout": input_dropout}
        given |= {"memory_dropout": memory_dropout, "output_dropout": output_dropout}
        for name, value in (given | {"label_smoothing": label_smoothing}).items():
            if not 0.0 <= value < 1.0:
                raise ValueError(refuse(name, value, "be in [0, 1)"))
        if tied not in ("none", "target", "all"):
            raise ValueError(refuse("tied", tied, "be 'none', 'target' or 'all'"))
        width = encoder.input_size
        if tied != "none" and readout_size != width:
            raise ValueError(refuse("readout_size", readout_size, f"be {width}, as the embedding, with tied={tied!r}"))
        if tied == "all" and source_size != target_size:
            sizes = Said(f"{source_size} and {target_size}")
            raise ValueError(refuse("the sizes of the vocabularies", sizes, "be equal with tied='all'"))
        wanted = width + (readout_size if input_feeding else 0)
        if decoder.input_size != wanted:
            raise ValueError(refuse("the input size of the decoder", decoder.input_size, f"be {wanted}"))
        if decoder.bidirectional:
            raise ValueError(refuse("the decoder", Said("bidirectional"), "have one direction"))
        self.encoder, self.layer = encoder, decoder
        memory, hidden = encoder.output_size * encoder.num_directions, decoder.output_size
        self.target_embedding = nn.Embedding(target_size, width)
        self.source_embedding = self.target_embedding if tied == "all" else nn.Embedding(source_size, width)
        self.start = nn.Linear(memory, decoder.num_layers * hidden)
        self.key = nn.Linear(memory, hidden, bias=False)
        self.readout = nn.Linear(memory + hidden, readout_size, bias=False)
        self.head = nn.Linear(readout_size, target_size)
        if tied != "none":
            self.head.weight = self.target_embedding.weight
        self.tied, self.input_feeding = tied, input_feeding
        self.dropouts = given
        self.label_smoothing, self.search = label_smoothing, search

    @property
    def inputs(self) -> Tokens:
        """Tokens of the source."""
        return Tokens(self.source_embedding.num_embeddings)

    @property
    def output_size(self) -> int:
        """V of the target."""
        return self.head.out_features

    @property
    def state_names(self) -> tuple[str, ...]:
        """The tensors of the decoder and, with input feeding, ``readout``, the last r_t."""
        return (*self.layer.state_names, *(("readout",) if self.input_feeding else ()))

    def zero_state(self, batch_size: int) -> State:
        """Return a state of the decoder of zeros; that at the start of a sentence depends on the source."""
        return self._started(self.layer.zero_tensors(batch_size))

    def _started(self, tensors: State) -> State:
        if not self.input_feeding:
            return tensors
        return (*tensors, tensors[0].new_zeros(1, tensors[0].shape[1], self.readout.out_features))

    def reset_parameters(self, init: str = "torch", forget_bias: float | None = None) -> None:
        """Initialise the layers as `RecurrentLayer.reset_parameters`, embeddings with variance 1 / E, others as torch.

        Embeddings are multiplied by √E where they are read, so that the layers see a variance of 1, but not where they
        serve as W, so that the first logits are small.
        """
        for layer in (self.encoder, self.layer):
            layer.reset_parameters(init, forget_bias)
        for linear in (self.start, self.key, self.readout, self.head):
            linear.reset_parameters()
        for table in (self.source_embedding, self.target_embedding):
            nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)
        if self.tied != "none":
            nn.init.zeros_(self.head.bias)

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read sentences.

        Args:
            inputs: (B, S) int64 tokens.
            lengths: (B,) valid tokens of each, or None for S.
            state: Must be None: a sentence is read as a whole.

        Returns:
            The memory, (B, S, M), and the state of the decoder at the start of the translation.
        """
        memory, start = self.read(inputs, lengths)
        return memory.values, start

    def read(self, source: Tensor, lengths: Tensor | None = None) -> tuple[Memory, State]:
        """Return the memory of sentences (B, S), and the state of the decoder before the first token."""
        return self._encoded(self.embed_source(source), source, lengths)

    def embed_source(self, source: Tensor) -> Tensor:
        """Return the embedded tokens of sentences (B, S) as the encoder reads them, (S, B, E)."""
        return self._embedded(self.source_embedding.weight, source)

    def _encoded(self, x: Tensor, source: Tensor, lengths: Tensor | None) -> tuple[Memory, State]:
        """Return the memory and the start of the decoder for embedded sentences (S, B, E)."""
        if lengths is None:
            lengths = torch.full((len(source),), source.shape[1])
        outputs, after = self.encoder.run_tensors(x, None, lengths)
        # The first tensor of a state is h; that of the last layer comes last.
        last = torch.cat(after[0][-self.encoder.num_directions :].unbind(0), 1)
        outputs = locked_dropout(outputs, self.dropouts["memory_dropout"], self.training)
        values = outputs.transpose(0, 1)
        there = torch.arange(source.shape[1], device=source.device) < lengths.to(source.device)[:, None]
        begin = torch.tanh(self.start(last)).view(len(source), self.layer.num_layers, -1).transpose(0, 1)
        zeros = self.layer.zero_tensors(len(source))
        return Memory(values, self.key(values), there), self._started(
            (begin.to(zeros[0].dtype).contiguous(), *zeros[1:])
        )

    def write(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """Advance the decoder.

        Args:
            tokens: (B, T) int64, the token before each.
            memory: Memory from `read`.
            state: State from `read`, or from the call before.

        Returns:
            The readout r, (T, B, R), whose `head` are logits; and the state.
        """
        found, state, _ = self._written(tokens, memory, state)
        return found, state

    def _written(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State, list[Tensor]]:
        """Return what `write` does, and the weights a of the attention, (B, T, S) in parts along T."""
        x = self._embedded(self.target_embedding.weight, tokens)
        kept = locked_dropout(
            x.new_ones(1, len(tokens), self.readout.out_features), self.dropouts["output_dropout"], self.training
        )
        if not self.input_feeding:
            hidden, state = self.layer.run_tensors(x, state)
            read, weights = self._read(hidden, memory)
            return read * kept, state, [weights]
        *inner, fed = state
        found, attention = [], []
        for embedded in x.unbind(0):
            both = torch.cat((embedded[None], fed.to(embedded.dtype)), 2)
            hidden, inner = self.layer.run_tensors(both, tuple(inner))  # type: ignore[assignment]
            read, weights = self._read(hidden, memory)
            fed = read * kept
            found.append(fed)
            attention.append(weights)
        return torch.cat(found), (*inner, fed), attention

    def _read(self, hidden: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return r_t before dropout, (T, B, R), and a_t, (B, T, S), for outputs of the decoder (T, B, H)."""
        scores = torch.bmm(hidden.transpose(0, 1), memory.keys.transpose(1, 2))
        weights = scores.masked_fill(~memory.there[:, None], -torch.inf).softmax(2)
        context = torch.bmm(weights.to(memory.values.dtype), memory.values)
        return torch.tanh(self.readout(torch.cat((context.transpose(0, 1), hidden), 2))), weights

    def _embedded(self, weight: Tensor, tokens: Tensor) -> Tensor:
        """Return (T, B, E) for tokens (B, T)."""
        dropped = self.dropouts["embedding_dropout"]
        if self.training and dropped > 0.0:
            weight = weight * nn.functional.dropout(torch.ones_like(weight[:, :1]), dropped, True)
        found = embedding(tokens.t(), weight) * math.sqrt(weight.shape[1])
        return locked_dropout(found, self.dropouts["input_dropout"], self.training)

    def stream(self, batch_size: int) -> ModelStream:
        """Not available: a translation begins when the whole sentence is known.

        Raises:
            ValueError: Always.
        """
        raise ValueError("a translation cannot be streamed: it begins when the whole sentence is known")

    def training_loss(self, batch: Batch, state: State | None, loss_sum: LossSum) -> TrainingLoss:
        """Return the loss of a batch of pairs, each target token given those before; see `Model.training_loss`.

        ``loss_sum`` is not used: the loss is computed from the readout, a part of the logits at a time.
        """
        read, after, _ = self._forced(batch)
        # Time first, like the layers.
        summed = linear_cross_entropy(
            read.flatten(0, 1), self.head.weight, self.head.bias, batch.targets.t().flatten(), self.label_smoothing
        )
        return TrainingLoss(summed, None, after)

    def answer(self, batch: Batch, state: State | None) -> Answered:
        """Return the logits of each token of the references given those before, (B, T, V), and the translations."""
        lengths = torch.full((len(batch.inputs),), batch.inputs.shape[1]) if batch.lengths is None else batch.lengths
        written = translate(self, batch.inputs, lengths, self.search)
        return Answered(self.forced(batch), None, [one.tokens for one in written])

    def forced(self, batch: Batch, embedded: Tensor | None = None) -> Tensor:
        """Return the logits of each token of the targets given those before, (B, T, V).

        Args:
            batch: Pairs.
            embedded: (B, S, E), read in place of the embedded tokens of the sources; None: these.
        """
        found: Tensor = self.head(self._forced(batch, embedded)[0].transpose(0, 1))
        return found

    def attention(self, batch: Batch) -> Tensor:
        """Return the weights a of the attention at each token of the targets given those before, (B, T, S)."""
        return torch.cat(self._forced(batch)[2], 1)

    def _forced(self, batch: Batch, embedded: Tensor | None = None) -> tuple[Tensor, State, list[Tensor]]:
        """Return the result of `_written` for the tokens of the targets, each after the one before it."""
        before = batch.targets.masked_fill(batch.targets == NOT_SCORED, START).roll(1, 1)
        before[:, 0] = START
        x = self.embed_source(batch.inputs) if embedded is None else embedded.transpose(0, 1)
        memory, begin = self._encoded(x, batch.inputs, batch.lengths)
        return self._written(before, memory, begin)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensors, Tensors]:
        """See `momentum_cli.models.translation.search.Steps`."""
        memory, state = self.read(source, lengths)
        return tuple(memory), state

    def step(self, tokens: Tensor, context: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        """See `momentum_cli.models.translation.search.Steps`."""
        read, after = self.write(tokens[:, None], Memory(*context), state)
        return self.head(read[0]), after

    @property
    def translator(self) -> Translator:
        """See `Model.translator`."""
        return Translator(self, self.search, self.head.weight.device)

    def search_with(self, **options: Any) -> None:
        """See `Model.search_with`."""
        self.search = replace(self.search, **options)

    def __prepare_scriptable__(self) -> nn.Module:
        """Not available; export to ONNX or pt2 instead.

        Raises:
            ValueError: Always.
        """
        raise ValueError("a translation model has no TorchScript form; export it to onnx or pt2")
