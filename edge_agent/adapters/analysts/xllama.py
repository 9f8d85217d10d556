"""xllamacpp (llama.cpp's server as a library), inside the child process. Only `local` starts it.

Its JSON-schema converter answers unconstrained where it does not know a keyword, so only grammars are given to it.
"""

import tempfile
from pathlib import Path
from typing import Any

import xllamacpp

from edge_agent.adapters.analysts.pictures import content
from edge_agent.domain.faults import Transient

_QUIET = 1
"""Errors only."""


class XLlama:
    """One model, one slot; the slot keeps the constant beginning of the prompt."""

    def __init__(
        self, *, model: str, threads: int, context_tokens: int, adapter: str = "", projector: str = ""
    ) -> None:
        """Args: ``projector`` lets the model see (a GGUF of its own, ``mmproj``)."""
        with tempfile.TemporaryDirectory(prefix="edge-agent-llm.") as folder:
            self._server = _serve(
                _parameters(model, threads, context_tokens, adapter, projector), Path(folder) / "llm.sock"
            )

    def write(
        self, *, system: str, prompt: str, grammar: str, max_tokens: int, seed: int, image: bytes = b""
    ) -> dict[str, Any]:
        """Greedy decoding under the grammar; the text may still be cut by the token limit."""
        answer = self._server.handle_chat_completions(
            {
                "messages": [
                    {"role": "system", "content": system},
                    {"role": "user", "content": content(prompt, image)},
                ],
                "max_tokens": max_tokens,
                "temperature": 0.0,
                "seed": seed,
                "cache_prompt": True,
            }
            | ({"grammar": grammar} if grammar else {})
        )
        if "error" in answer:
            raise Transient(f"the request was refused: {answer['error'].get('message', answer['error'])}")
        return {
            "text": answer["choices"][0]["message"]["content"] or "",
            "prompt_tokens": answer["usage"]["prompt_tokens"],
            "output_tokens": answer["usage"]["completion_tokens"],
        }


def _parameters(model: str, threads: int, context_tokens: int, adapter: str, projector: str) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    if adapter:
        laid_over = xllamacpp.CommonAdapterLoraInfo()
        laid_over.path, laid_over.scale = adapter, 1.0
        parameters.lora_adapters = [laid_over]
    if projector:
        parameters.mmproj.path = projector
    parameters.n_ctx = context_tokens
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.cache_ram_mib = 0
    parameters.warmup = False
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = _QUIET
    return parameters


def _serve(parameters: Any, socket: Path) -> Any:
    """The server insists on listening: give it a socket in a private folder that is gone when this returns."""
    parameters.hostnames = [str(socket)]
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise Transient(f"the model does not load: {error}") from error
