"""Streams, events and the runtime: everything happens at once."""

from __future__ import annotations

import contextlib
from typing import Any


class runtime:
    class CUDARuntimeError(RuntimeError):
        pass

    @staticmethod
    def getDeviceCount() -> int:
        return 1


class Event:
    def record(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        pass


class Stream(contextlib.AbstractContextManager):  # type: ignore[type-arg]
    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def record(self, event: Any = None) -> Event:
        return event or Event()

    def wait_event(self, event: Event) -> None:
        pass


def get_current_stream() -> Stream:
    return Stream()


class Device(contextlib.AbstractContextManager):  # type: ignore[type-arg]
    def __init__(self, number: int = 0) -> None:
        self.id = number

    def __exit__(self, *error: object) -> None:
        pass

    def synchronize(self) -> None:
        pass
