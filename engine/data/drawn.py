"""The first samples that a stage trains on, as a data set to look at."""

from __future__ import annotations

import numpy as np

from engine.contracts import Sample
from engine.data.draws import of_sample
from engine.data.loader import Order
from engine.data.source import Source


class _Drawn:
    def __init__(self, source: Source, order: Order, count: int) -> None:
        self._source, self._order, self._count = source, order, count

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        step, place = divmod(index, self._order.batch)
        draw = self._order.draws(step)[place]
        return self._source.sample(draw[1], of_sample(self._order.seed, self._order.stage, draw, step))


def drawn(source: Source, order: Order, count: int) -> Source:
    """The first `count` samples of an order with their random changes, in the order in which they are drawn."""
    return Source(_Drawn(source, order, count), f"{source} as stage {order.stage} draws it", source.skips, source.tell)
