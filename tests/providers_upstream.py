"""A server on the loopback address that answers as each of several providers does, and counts who wants to read what it
keeps for itself."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Both:
    """What a caller must not be able to read, and a provider beside it: what was got of the one, and sent to the
    other."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.sent: list[str] = []
        both = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                both.got.append(self.path)
                self._tell("image/png", b"\x89PNG\r\n\x1a\n")

            do_HEAD = do_GET

            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["content-length"])).decode()
                both.sent.append(asked)
                kind, told = _answer(self.path, json.loads(asked))
                self._tell(kind, told.encode())

            def _tell(self, kind: str, data: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def _answer(path: str, body: dict[str, Any]) -> tuple[str, str]:
    if "messages" in path:
        said: dict[str, Any] = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "c",
            "stop_reason": "end_turn",
        }
        said |= {"content": [{"type": "text", "text": "seen"}], "usage": {"input_tokens": 1, "output_tokens": 1}}
        return "application/json", json.dumps(said)
    if "generateContent" in path:
        parts = {"role": "model", "parts": [{"text": "seen"}]}
        used = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        return "application/json", json.dumps(
            {"candidates": [{"content": parts, "finishReason": "STOP"}], "usageMetadata": used}
        )
    if path.endswith("/responses"):
        text = {"type": "output_text", "text": "seen", "annotations": []}
        item = {"type": "message", "role": "assistant", "content": [text]}
        return "application/json", json.dumps({"id": "r", "status": "completed", "output": [item]})
    if "/converse" in path:
        message: dict[str, Any] = {"role": "assistant", "content": [{"text": "seen"}]}
        used = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        told = {"output": {"message": message}, "stopReason": "end_turn", "usage": used}
        return "application/json", json.dumps(told)
    if path.startswith("/api/"):
        return "application/json", json.dumps({"model": "llava", "response": "seen", "done": True})
    head = {"id": "x", "created": 1, "model": "m", "service_tier": "default"}
    if body.get("stream"):
        # Without its usage: litellm counts then, and would see how large images are.
        choices = [{"index": 0, "delta": {"role": "assistant", "content": "seen"}, "finish_reason": "stop"}]
        chunk = {**head, "object": "chat.completion.chunk", "choices": choices}
        return "text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    message = {"role": "assistant", "content": "seen"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return "application/json", json.dumps({**head, "object": "chat.completion", "choices": [choice]})
