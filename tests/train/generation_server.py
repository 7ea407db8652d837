"""A server on this machine that continues token sequences with a tiny policy, in the words of vLLM's interface."""

import json
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import torch

from mise_gym.train.policy import LLMPolicy


class GenerationServer:
    """Serves completions.

    Args:
        policy: Whose tokens they are; a copy of its own, into which adapters are loaded. ``None`` serves no model.
        faults: Status of the first answers, before all goes well.
        has_token_ids: Whether it tells token ids.
    """

    def __init__(self, policy: LLMPolicy | None, *, faults: Sequence[int] = (), has_token_ids: bool = True) -> None:
        self.policy = policy
        self.faults = list(faults)
        self.has_token_ids = has_token_ids
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.adapters: list[str] = []
        self._lock = Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    status, answer = outer.answer(self.path, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.send_header("retry-after", "0")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.requests.append((path, body))
        if self.faults:
            return self.faults.pop(0), {"error": "as planned"}
        if self.policy is None:
            return 404, {"error": "There is no model."}
        if path == "/v1/load_lora_adapter":
            assert self.policy.adapter is not None
            self.policy.adapter.load(Path(body["lora_path"]))
            self.adapters.append(body["lora_name"])
            return 200, "Success"
        if path == "/v1/unload_lora_adapter":
            self.adapters.remove(body["lora_name"])
            return 200, "Success"
        if body["model"] not in ("base", *self.adapters):
            return 404, {"error": f"The model {body['model']} does not exist."}
        return 200, self._complete(self.policy, body)

    @torch.no_grad()
    def _complete(self, policy: LLMPolicy, body: dict[str, Any]) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(body["seed"])
        tokenizer = policy.tokenizer
        ids: list[int] = []
        logprobs = []
        while len(ids) < body["max_tokens"] and not any(stop in tokenizer.decode(ids) for stop in body["stop"]):
            logits = policy.logits(policy.features(torch.tensor([body["prompt"] + ids]))[0, -1:])[0]
            chosen = logits.log_softmax(-1)
            greedy = body["temperature"] == 0
            ids.append(int(chosen.argmax() if greedy else torch.multinomial(chosen.exp(), 1, generator=generator)))
            logprobs.append(float(chosen[ids[-1]]))
            if ids[-1] in body["stop_token_ids"]:
                break
        told = {"token_ids": ids} if self.has_token_ids else {}
        choice = {"text": tokenizer.decode(ids), "logprobs": {"token_logprobs": logprobs}, "finish_reason": "stop", **told}
        return {"choices": [choice], "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids)}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
