"""A camera's frames over a WebSocket: the newest frame wins, so that the answer is never about the past."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fer_pipeline import console
from fer_pipeline.serve.service import Service
from fer_pipeline.web.frames import Newest, until_one_ends

REFUSED, FAILED, BUSY = 1008, 1011, 1013  # close codes of RFC 6455 and its registry
IDLE = 4000  # ours: come again when there is a frame


async def follow(socket: WebSocket, service: Service, model: str) -> None:
    """Answer one live connection until it ends."""
    await socket.accept()
    if model not in service.models:
        await _refuse(socket, REFUSED, f"no model of that name: there is {', '.join(service.models)}")
        return
    if service.cameras >= service.limits.connections:
        await _refuse(socket, BUSY, f"{service.limits.connections} cameras are watched already: come again later")
        return
    service.cameras += 1
    with service.telemetry.live.track_inprogress():
        try:
            await _converse(socket, service, {"model": model})
        finally:
            service.cameras -= 1


async def _converse(socket: WebSocket, service: Service, chosen: dict[str, str]) -> None:
    """Receive and answer side by side; what ends one of them ends the connection."""
    newest = Newest()
    try:
        await until_one_ends(_receive(socket, service, newest, chosen), _answer_frames(socket, service, newest, chosen))
    except WebSocketDisconnect:
        pass
    except TimeoutError:
        await _close(socket, IDLE)
    except Exception as error:  # noqa: BLE001  whatever a model raises, its client must not wait for ever
        console.note(f"live: {type(error).__name__}: {error}"[:300])
        await _close(socket, FAILED)
    finally:
        service.telemetry.frames.labels("overtaken").inc(newest.overtaken)


async def _receive(socket: WebSocket, service: Service, newest: Newest, chosen: dict[str, str]) -> None:
    """Take frames and requests for another model as they come; raises TimeoutError if there is no frame for long."""
    number, heard = 0, asyncio.get_running_loop().time()
    while True:
        async with asyncio.timeout_at(heard + service.limits.idle):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes") is not None:
            newest.put(number, message["bytes"])
            number, heard = number + 1, asyncio.get_running_loop().time()
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


async def _close(socket: WebSocket, code: int) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # the other end may have been faster
        await socket.close(code)


async def _refuse(socket: WebSocket, code: int, detail: str) -> None:
    await socket.send_text(json.dumps({"detail": detail}, ensure_ascii=False))
    await socket.close(code)
