"""The server of `toys.engine`, in a thread: it loads a model folder and samples token by token."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import torch


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url, self.asked = f"http://127.0.0.1:{self.server_port}", list[str]()
        Thread(target=self.serve_forever, daemon=True).start()

    def weights(self, folder: str, version: int) -> dict[str, Any]:
        from transformers import AutoModelForCausalLM

        self.model, self.version = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), version
        return {}

    @torch.no_grad()
    def generate(self, prompt_ids: list[int], seed: int, **sampling: Any) -> dict[str, Any]:
        random = torch.Generator().manual_seed(seed % 2**63)
        ids, logprobs = list[int](), list[float]()
        while len(ids) < sampling["max_new_tokens"] and not set(ids[-1:]) & set(sampling["stop_ids"]):
            logits_V = self.model(torch.tensor([[*prompt_ids, *ids]])).logits[0, -1].float() / sampling["temperature"]
            logprobs_V = logits_V.log_softmax(-1)
            ids.append(int(torch.multinomial(logprobs_V.exp(), 1, generator=random)))
            logprobs.append(float(logprobs_V[ids[-1]]))
        reason = "stop" if ids[-1] in sampling["stop_ids"] else "length"
        return {"token_ids": ids, "logprobs": logprobs, "finish_reason": reason, "weight_version": self.version}


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        what = self.path.strip("/")
        self.server.asked.append(what)
        answer = json.dumps(
            getattr(self.server, what)(**json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: Any) -> None:
        pass
