"""The steps of a decoder with keys and values in fixed memory, which a GPU repeats as CUDA graphs.

A step of a small decoder is a few hundred short kernels, and launching them takes longer than running them.
A CUDA graph launches all of them at once, but always with the same addresses and shapes. So the memory is
allocated once, a step works on the first rows and positions of it, and both are rounded up to few sizes. A
mask hides the positions that are not yet written.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch.overrides import TorchFunctionMode
from transformers import Cache, DynamicCache, EncoderDecoderCache
from transformers.cache_utils import StaticLayer

from ocr_ray.model.fit import CACHE

log = logging.getLogger(__name__)

MIN_ROWS = 16
MIN_LENGTH = 32
"""The smallest number of rows and positions of a step; larger ones are powers of two."""
SAME_LOGITS = 0.05
"""The largest difference to the logits with transformers' own cache, as a share of the largest logit: above
the rounding of bf16, far below what a wrong position or mask would make."""


class _Step(NamedTuple):
    """What distinguishes the graphs."""

    rows: int
    length: int
    """Positions of tokens that it attends to, the ones not yet written included."""
    is_first: bool
    """Whether it computes the keys and values of the encoder's states."""


class _SharedLayer(StaticLayer):  # type: ignore[misc]
    """Keys and values of a layer in memory of our own, which other caches share."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, position: torch.Tensor | int) -> None:
        """`position` is that of the next token; a number: the layer holds so many states of the encoder."""
        super().__init__(max_cache_len=keys.shape[2])
        self.keys, self.values, self.is_initialized = keys, values, True
        self.cumulative_length = position

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for kept, states in ((self.keys, key_states), (self.values, value_states)):
            if isinstance(self.cumulative_length, torch.Tensor):
                kept.index_copy_(2, self.cumulative_length.reshape(1), states)
            else:
                kept.copy_(states)
        return self.keys, self.values


class _PositionTensors(TorchFunctionMode):
    """Makes `torch.arange(position, position + 1)` on tensors, as TrOCR has it, without reading a value."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.arange and args and isinstance(args[0], torch.Tensor) and len(args) > 1:
            return args[0].reshape(1)
        return func(*args, **(kwargs or {}))


class StaticSteps:
    """The steps of a decoder for up to `max_rows` lines of up to `max_length` tokens.

    It does not hold the decoder, which is passed to each step. `lock` is to be held from `start` to the last
    `read`.
    """

    check_every = 8
    """Steps between two looks at how many lines are unfinished: each waits for the GPU."""

    def __init__(self, decoder: Any, states: torch.Tensor, *, max_rows: int, max_length: int) -> None:
        """`states` are those of some lines, shape (N, S, D).

        Raises:
            NotImplementedError: the decoder does not work with such memory.
        """
        self.max_rows, self.max_length = _round_up(max_rows, MIN_ROWS), _round_up(max_length, MIN_LENGTH)
        self.lock = threading.Lock()
        device = states.device
        self._captures = device.type == "cuda"
        self._graphs: dict[_Step, torch.cuda.CUDAGraph] = {}
        if self._captures:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        first = torch.zeros(1, 1, dtype=torch.long, device=device)
        expected = [read_logits(decoder, first, states[:1], cache) for _ in range(2)]
        self._tokens = torch.zeros(self.max_rows, 1, dtype=torch.long, device=device)
        self._position = torch.zeros((), dtype=torch.long, device=device)
        self._mask = torch.zeros(1, 1, 1, self.max_length, device=device)
        self._states = states.new_zeros(self.max_rows, *states.shape[1:])
        self._logits = torch.zeros(self.max_rows, expected[0].shape[-1], device=device)
        self._own = [self._allocate(layer, self.max_length) for layer in cache.self_attention_cache.layers]
        self._encoded = [
            self._allocate(layer, layer.keys.shape[2]) for layer in cache.cross_attention_cache.layers
        ]
        self._check(decoder, states, expected)

    def _allocate(self, layer: Any, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return memory for the keys and values of a layer, shapes (rows, heads, length, D)."""
        keys, values = (
            part.new_zeros(self.max_rows, part.shape[1], length, part.shape[3])
            for part in (layer.keys, layer.values)
        )
        return keys, values

    def _check(self, decoder: Any, states: torch.Tensor, expected: Sequence[torch.Tensor]) -> None:
        """Read two tokens and compare the logits with those of transformers' own cache."""
        captures, self._captures = self._captures, False
        self.start(states[:1])
        for logits in expected:
            own = self.read(decoder, self._tokens[: self._rows])[0]
            if not (own - logits).abs().max() <= SAME_LOGITS * logits.abs().max():
                raise NotImplementedError(f"{type(decoder).__name__} gives other logits")
        self._captures = captures

    def fit_rows(self, num_open: int, rows: int) -> int:
        """Return the number of rows of the next steps, at most `rows`, for so many unfinished lines."""
        return min(_round_up(num_open, MIN_ROWS), rows)

    def has_room(self, num_rows: int, length: int) -> bool:
        return num_rows <= self.max_rows and length <= self.max_length

    def start(self, states: torch.Tensor) -> int:
        """Begin new lines; return the number of rows, of which those after the lines are of no use."""
        self._rows = self.fit_rows(len(states), self.max_rows)
        self._num_read = 0
        self._states[: len(states)].copy_(states)
        self._mask.fill_(-torch.inf)
        for part in (part for layer in self._own for part in layer):
            part[: self._rows].zero_()  # hidden, but a NaN of earlier lines would come through a mask
        return self._rows

    def read(self, decoder: Any, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after the next token of each row, shapes (rows, vocabulary) and (rows, 1).

        They are overwritten by the next call.
        """
        self._tokens[: self._rows].copy_(tokens)
        self._position.fill_(self._num_read)
        self._mask[..., self._num_read] = 0
        self._num_read += 1
        length = min(_round_up(self._num_read, MIN_LENGTH), self.max_length)
        step = _Step(self._rows, length, is_first=self._num_read == 1)
        if step in self._graphs:
            self._graphs[step].replay()
        elif self._captures:
            self._run_and_capture(decoder, step)
        else:
            self._run(decoder, step)
        return self._logits[: self._rows]

    def keep(self, kept: torch.Tensor) -> None:
        """Go on with some of the rows, in this order; their number comes from `fit_rows`."""
        self._rows = len(kept)
        written = [part[:, :, : self._num_read] for layer in self._own for part in layer]
        for part in (*written, *(part for layer in self._encoded for part in layer)):
            part[: self._rows] = part[kept]
        self._states[: self._rows, :1] = self._states[kept, :1]

    def _run(self, decoder: Any, step: _Step) -> None:
        """Compute the logits of a step."""
        own = [
            _SharedLayer(
                keys[: step.rows, :, : step.length], values[: step.rows, :, : step.length], self._position
            )
            for keys, values in self._own
        ]
        encoded = [
            _SharedLayer(keys[: step.rows], values[: step.rows], 0 if step.is_first else keys.shape[2])
            for keys, values in self._encoded
        ]
        # Later steps use the keys and values, and the states only as a sign that there are some.
        states = self._states[: step.rows] if step.is_first else self._states[: step.rows, :1]
        device = self._tokens.device.type
        # Weights that autocast keeps outside of a graph would be gone when the graph is repeated.
        with (
            _PositionTensors(),
            torch.autocast(
                device,
                dtype=torch.get_autocast_dtype(device),
                enabled=torch.is_autocast_enabled(device),
                cache_enabled=False,
            ),
        ):
            logits = read_logits(
                decoder,
                self._tokens[: step.rows],
                states,
                EncoderDecoderCache(Cache(layers=own), Cache(layers=encoded)),
                self._mask[..., : step.length].expand(step.rows, -1, -1, -1),
            )
        self._logits[: step.rows].copy_(logits)

    def _run_and_capture(self, decoder: Any, step: _Step) -> None:
        """Compute the logits of a step, which warms up what it needs, and record it as a graph."""
        before = torch.cuda.current_stream()
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            self._run(decoder, step)
        before.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            # One capture at a time: the beginning of another one waits for the whole device. The outer
            # context restores the stream even if the end of the capture fails. Other threads may allocate
            # pinned memory meanwhile, which the mode "global" would refuse.
            with (
                _lock,
                torch.cuda.stream(self._stream),
                torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                self._run(decoder, step)
        except torch.cuda.OutOfMemoryError:
            raise  # fewer lines with graphs are faster than many without
        except RuntimeError as error:
            self._captures = False
            log.warning(
                "the steps of %s cannot be captured as CUDA graphs, reading is slower: %s",
                type(decoder).__name__,
                str(error).partition("\n")[0],
            )
        else:
            self._graphs[step] = graph


_kept: WeakKeyDictionary[Any, tuple[tuple[Any, ...], StaticSteps | None]] = WeakKeyDictionary()
"""The steps of each decoder and what they were made for; None: it does not work with fixed memory."""
_lock = threading.Lock()
"""Held while steps are made or captured."""


def find_static_steps(decoder: Any, states: torch.Tensor, max_length: int) -> StaticSteps | None:
    """Return the steps of a decoder for the encoder's states, shape (N, S, D), and up to `max_length` tokens.

    The decoder keeps them; they are made anew if they are too small or its weights have moved. None: the
    decoder does not work with fixed memory.
    """
    max_rows, made_for = len(states), _describe(decoder, states)
    with _lock:
        kept_for, steps = _kept.pop(decoder, (None, None))
        if kept_for == made_for and steps:
            max_rows, max_length = max(max_rows, steps.max_rows), max(max_length, steps.max_length)
        if kept_for != made_for or (steps and not steps.has_room(max_rows, max_length)):
            steps = None  # before others are made, because both may not fit into a GPU's memory
            steps = _make(decoder, states, max_rows, max_length)
        _kept[decoder] = made_for, steps
    return steps


def free_static_steps(decoder: Any) -> None:
    """Free the memory of a decoder's steps."""
    with _lock:
        _kept.pop(decoder, None)


def _make(decoder: Any, states: torch.Tensor, max_rows: int, max_length: int) -> StaticSteps | None:
    try:
        return StaticSteps(decoder, states, max_rows=max_rows, max_length=max_length)
    except torch.cuda.OutOfMemoryError:
        raise
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        name, reason = type(decoder).__name__, str(error).partition("\n")[0]
        log.warning("%s does not work with fixed memory, reading is slower: %s", name, reason)
        return None


def _describe(decoder: Any, states: torch.Tensor) -> tuple[Any, ...]:
    """Return what memory and graphs depend on, the addresses of the weights included."""
    device = states.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    weights = tuple(weight.data_ptr() for weight in decoder.parameters())
    return states.shape[1:], states.dtype, states.device, precision, weights


def read_logits(
    decoder: Any,
    tokens: torch.Tensor,
    states: torch.Tensor,
    cache: EncoderDecoderCache,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the logits of the last position, shape (N, vocabulary)."""
    logits: torch.Tensor = decoder(
        input_ids=tokens,
        attention_mask=mask,
        encoder_hidden_states=states,
        use_cache=True,
        **{CACHE: cache},
    ).logits[:, -1]
    return logits


def _round_up(number: int, least: int) -> int:
    """Return the smallest power of two that is at least `number` and `least`."""
    return max(least, 1 << (number - 1).bit_length())
