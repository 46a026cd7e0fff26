"""A camera's frames over a WebSocket: the newest frame wins, so that the answer is never about the past."""

import asyncio
import json
import time
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fer_pipeline.serve.service import Service

REFUSED, BUSY = 1008, 1013  # close codes of RFC 6455 and its registry


class Newest:
    """Holds one frame: a newer one takes its place, and whoever waits gets the newest."""

    def __init__(self) -> None:
        self._there = asyncio.Event()
        self._frame: tuple[int, bytes] | None = None
        self.overtaken = 0

    def put(self, number: int, data: bytes) -> None:
        self.overtaken += self._frame is not None
        self._frame = (number, data)
        self._there.set()

    async def get(self) -> tuple[int, bytes]:
        await self._there.wait()
        self._there.clear()
        frame, self._frame = self._frame, None
        assert frame is not None, "set without a frame"
        return frame


async def follow(socket: WebSocket, service: Service, model: str) -> None:
    """Answer one live connection until it ends."""
    await socket.accept()
    live = service.telemetry.live
    if model not in service.models:
        await _refuse(socket, REFUSED, f"no model of that name: there is {', '.join(service.models)}")
        return
    if live._value.get() >= service.limits.connections:
        await _refuse(socket, BUSY, f"{service.limits.connections} cameras are watched already: come again later")
        return
    newest, chosen = Newest(), {"model": model}
    with live.track_inprogress():
        answering = asyncio.create_task(_answer_frames(socket, service, newest, chosen))
        try:
            await _receive(socket, service, newest, chosen)
        except WebSocketDisconnect:
            pass
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            service.telemetry.frames.labels("overtaken").inc(newest.overtaken)


async def _receive(socket: WebSocket, service: Service, newest: Newest, chosen: dict[str, str]) -> None:
    """Take frames and requests for another model as they come."""
    number = 0
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes") is not None:
            newest.put(number, message["bytes"])
            number += 1
        elif (wanted := _wanted_model(message.get("text") or "")) in service.models:
            chosen["model"] = wanted
        else:
            await socket.send_text(json.dumps({"detail": 'send a frame, or {"model": NAME} with a model of /version'}))


def _wanted_model(text: str) -> str:
    try:
        wanted = json.loads(text)["model"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return wanted if isinstance(wanted, str) else ""


async def _answer_frames(socket: WebSocket, service: Service, newest: Newest, chosen: dict[str, str]) -> None:
    pause = 1 / service.limits.frames
    while True:
        number, data = await newest.get()
        started = time.perf_counter()
        answer: dict[str, Any] = {"frame": number, "model": chosen["model"]}
        answer |= await service.answer(data, chosen["model"], quick=True)
        seconds = time.perf_counter() - started
        if socket.client_state is not WebSocketState.CONNECTED:
            return
        await socket.send_text(json.dumps(answer | {"ms": round(seconds * 1000, 1)}))
        service.telemetry.frames.labels("answered").inc()
        if seconds < pause:
            await asyncio.sleep(pause - seconds)


async def _refuse(socket: WebSocket, code: int, detail: str) -> None:
    await socket.send_text(json.dumps({"detail": detail}, ensure_ascii=False))
    await socket.close(code)
