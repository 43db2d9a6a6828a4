"""Makes Triton's interpreter run two things it cannot: programs that wait for each other, and bfloat16 products."""

from __future__ import annotations

import inspect
import itertools
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

# More turns than any test takes: the programs wait for something that never comes.
_MOST_TURNS = 100_000


class Turns:
    """The programs of one launch, a thread for each, of which one runs at a time; `pass_on` lets the next one run."""

    def __init__(self, kernel: Any, arguments: dict[str, Any], grid: tuple[int, int, int]) -> None:
        self._kernel, self._arguments = kernel, arguments
        self._programs = list(itertools.product(*map(range, grid)))
        self._turns = [threading.Semaphore(0) for _ in self._programs]
        self._running = deque(range(len(self._programs)))
        self._taken = 0
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Run all programs to their ends."""
        threads = [threading.Thread(target=self._run, args=(index,)) for index in range(len(self._programs))]
        for thread in threads:
            thread.start()
        self._turns[0].release()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def pass_on(self) -> None:
        """Let all other programs have a turn before this one goes on."""
        mine = self._running[0]
        self._taken += 1
        if self._taken > _MOST_TURNS:
            raise RuntimeError("the programs wait for each other")
        self._running.rotate(-1)
        if self._running[0] != mine:
            self._turns[self._running[0]].release()
            self._take(mine)

    def _take(self, index: int) -> None:
        self._turns[index].acquire()
        interpreter.interpreter_builder.set_grid_idx(*self._programs[index])

    def _run(self, index: int) -> None:
        self._take(index)
        try:
            if not self._errors:
                self._kernel(**self._arguments)
        except BaseException as error:
            self._errors.append(error)
        self._running.popleft()
        if self._running:
            self._turns[self._running[0]].release()


def widened(handle: Any) -> Any:
    """Return the same numbers in float32, if they are bfloat16, which the interpreter keeps as the bits."""
    if handle.dtype.scalar != tl.bfloat16:
        return handle
    numbers = (handle.data.astype(np.uint32) << 16).view(np.float32)
    return interpreter.TensorHandle(numbers, tl.float32)


@contextmanager
def programs_take_turns() -> Iterator[None]:
    """Interpret launches so that the next program runs whenever one waits; bfloat16 products too."""
    builder = interpreter.interpreter_builder
    add, multiply = builder.create_atomic_rmw, builder.create_dot
    launches: list[Turns] = []

    def atomic(operation: Any, pointer: Any, value: Any, *rest: Any) -> Any:
        found = add(operation, pointer, value, *rest)
        if not value.data.any():  # it only looks: this program waits, and runs as far as it can otherwise
            launches[-1].pass_on()
        return found

    def product(a: Any, b: Any, *rest: Any) -> Any:
        return multiply(widened(a), widened(b), *rest)

    def launch(self: Any, *device: Any, **named: Any) -> None:
        """What the interpreter does around the programs, and the programs in turns."""
        names = inspect.getfullargspec(self.fn).args
        named = {name: value for name, value in named.items() if name in names}
        host, named_host = self._init_args_hst(device, named)
        scope = interpreter._patch_lang(self.fn)
        try:
            arguments = {
                name: value if name in self.constexprs else interpreter._implicit_cvt(value)
                for name, value in inspect.getcallargs(self.fn, *host, **named_host).items()
            }
            grid = (*self.grid, 1, 1)[:3]
            builder.set_grid_dim(*grid)
            launches.append(Turns(self.fn, arguments, grid))
            launches[-1].run()
        finally:
            scope.restore()
        self._restore_args_dev(device, host, named, named_host)

    with (
        mock.patch.object(interpreter.GridExecutor, "__call__", launch),
        mock.patch.object(builder, "create_atomic_rmw", atomic),
        mock.patch.object(builder, "create_dot", product),
    ):
        yield
