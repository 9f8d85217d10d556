"""llama-cpp-python, inside the child process. Only `local` starts it.

A native build of it dies with a segmentation fault on some virtual machines, so it never runs in the agent itself.
"""

from typing import Any

import llama_cpp
from llama_cpp import Llama, LlamaGrammar
from llama_cpp.llama_chat_format import Llava15ChatHandler

from edge_agent.adapters.analysts.pictures import content
from edge_agent.adapters.analysts.smolvlm import CHAT_FORMAT
from edge_agent.domain.faults import Transient


class LlamaCpp:
    """One model, one request at a time; the constant beginning of the prompt stays in the cache."""

    def __init__(
        self, *, model: str, threads: int, context_tokens: int, adapter: str = "", projector: str = ""
    ) -> None:
        """Args: ``projector`` lets the model see (a GGUF of its own, ``mmproj``)."""
        try:
            self._llama = Llama(
                model_path=model,
                lora_path=adapter or None,
                n_ctx=context_tokens,
                n_threads=threads,
                n_threads_batch=threads,
                n_gpu_layers=-1,
                chat_handler=_seeing(projector) if projector else None,
                verbose=False,
            )
        except (ValueError, RuntimeError) as error:  # how it says that the model or the adapter cannot be loaded
            raise Transient(f"the model does not load: {error}") from error

    def write(
        self, *, system: str, prompt: str, grammar: str, max_tokens: int, seed: int, image: bytes = b""
    ) -> dict[str, Any]:
        """Greedy decoding under the grammar; the text may still be cut by the token limit."""
        if grammar:
            self._refuse_broken(grammar)
        try:
            answer: Any = self._llama.create_chat_completion(
                messages=[{"role": "system", "content": system}, {"role": "user", "content": content(prompt, image)}],
                grammar=LlamaGrammar.from_string(grammar, verbose=False) if grammar else None,
                max_tokens=max_tokens,
                temperature=0.0,
                seed=seed,
            )
        except ValueError as error:  # the prompt is longer than the context
            raise Transient(f"the request was refused: {error}") from error
        return {
            "text": answer["choices"][0]["message"]["content"] or "",
            "prompt_tokens": answer["usage"]["prompt_tokens"],
            "output_tokens": answer["usage"]["completion_tokens"],
        }

    def _refuse_broken(self, grammar: str) -> None:
        """The library puts the null pointer of a grammar that does not parse to use, and crashes."""
        vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
        if not sampler:
            raise Transient("the request was refused: its grammar does not parse")
        llama_cpp.llama_sampler_free(sampler)


def _seeing(projector: str) -> Any:
    """The library's handler for pictures: it puts a picture where the format puts its address."""
    handler = type("Seeing", (Llava15ChatHandler,), {"CHAT_FORMAT": CHAT_FORMAT, "DEFAULT_SYSTEM_MESSAGE": None})
    return handler(clip_model_path=projector, verbose=False)
