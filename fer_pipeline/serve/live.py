"""Predict the frames of a camera over a WebSocket; only the newest waiting frame is predicted."""

import asyncio
import json
import time
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fer_pipeline import console
from fer_pipeline.serve.schema import ErrorResponse, FrameResponse
from fer_pipeline.serve.service import Service
from fer_pipeline.web.frames import Newest, until_one_ends

REFUSED, FAILED, BUSY = 1008, 1011, 1013  # close codes of RFC 6455 and its registry
IDLE = 4000  # a code of our own: no frame for too long


async def follow(socket: WebSocket, service: Service, model: str) -> None:
    """Serve one live connection until it ends."""
    await socket.accept()
    if model not in service.models:
        await _refuse(socket, REFUSED, f"no model of that name: there is {', '.join(service.models)}")
        return
    if service.cameras >= service.limits.connections:
        await _refuse(socket, BUSY, f"{service.limits.connections} cameras are connected already: try again later")
        return
    service.cameras += 1
    with service.telemetry.live.track_inprogress():
        try:
            await _serve(socket, service, {"model": model})
        finally:
            service.cameras -= 1


async def _serve(socket: WebSocket, service: Service, chosen: dict[str, str]) -> None:
    """Receive and predict concurrently; when one of them ends, so does the connection."""
    newest = Newest()
    try:
        await until_one_ends(
            _receive(socket, service, newest, chosen), _predict_frames(socket, service, newest, chosen)
        )
    except WebSocketDisconnect:
        pass
    except TimeoutError:
        await _close(socket, IDLE)
    except Exception as error:  # noqa: BLE001  any error of a model must close the connection
        console.note(f"live: {type(error).__name__}: {error}"[:300])
        await _close(socket, FAILED)
    finally:
        service.telemetry.frames.labels("overtaken").inc(newest.overtaken)


async def _receive(socket: WebSocket, service: Service, newest: Newest, chosen: dict[str, str]) -> None:
    """Receive frames and requests for another model; raises TimeoutError after `limits.idle` without a frame."""
    number, last = 0, asyncio.get_running_loop().time()
    while True:
        async with asyncio.timeout_at(last + service.limits.idle):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes") is not None:
            newest.put(number, message["bytes"])
            number, last = number + 1, asyncio.get_running_loop().time()
        elif (wanted := _wanted_model(message.get("text") or "")) in service.models:
            chosen["model"] = wanted
        else:
            error = ErrorResponse(detail='send a frame, or {"model": NAME} with a model of /version')
            await socket.send_text(error.model_dump_json())


def _wanted_model(text: str) -> str:
    try:
        wanted = json.loads(text)["model"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return wanted if isinstance(wanted, str) else ""


async def _predict_frames(socket: WebSocket, service: Service, newest: Newest, chosen: dict[str, str]) -> None:
    pause = 1 / service.limits.frames
    while True:
        number, data = await newest.get()
        started = time.perf_counter()
        model = chosen["model"]
        prediction = await service.predict(data, model, quick=True)
        seconds = time.perf_counter() - started
        if socket.client_state is not WebSocketState.CONNECTED:
            return
        response = FrameResponse(**dict(prediction), frame=number, model=model, ms=round(seconds * 1000, 1))
        await socket.send_text(response.model_dump_json())
        service.telemetry.frames.labels("answered").inc()
        if seconds < pause:
            await asyncio.sleep(pause - seconds)


async def _close(socket: WebSocket, code: int) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # the client may have closed it first
        await socket.close(code)


async def _refuse(socket: WebSocket, code: int, detail: str) -> None:
    await socket.send_text(ErrorResponse(detail=detail).model_dump_json())
    await socket.close(code)
