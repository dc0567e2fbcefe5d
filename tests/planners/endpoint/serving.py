"""Real servers for the endpoint planner: ``transformers serve``, and one that misbehaves on cue.

Run as a program, this file *is* the second: ``python serving.py PORT SETTINGS`` (JSON).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

from hier.bench.serving import answers, free_port, serve_command

# --- transformers serve -------------------------------------------------------------------------

VOCABULARY = """
<unk> <s> </s> <pad> <image> user assistant explore go to pick up open drop put next toggle reach
the red green blue purple yellow grey door key ball box goal
"""
WORDS = VOCABULARY.split()
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} {% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for part in m['content'] %}{% if part['type'] == 'image' %}<image> "
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %} </s> {% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)
MISSING = "transformers serve needs fastapi and uvicorn: pip install fastapi uvicorn"


def build_models(hub: Path) -> None:
    """Put three tiny models into a Hugging Face cache, so that a server finds them by name.

    ``tiny/random`` is a Llama as initialized, which babbles. ``tiny/sure`` is a Llama whose weights
    spell *explore* after any prompt; ``tiny/seeing`` is a LLaVA around it.
    """
    import torch
    import transformers as hf
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    torch.manual_seed(0)
    text = hf.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=4096,
        bos_token_id=1, eos_token_id=2, pad_token_id=3, tie_word_embeddings=False,
    )  # fmt: skip
    llama = hf.LlamaForCausalLM(text)
    _save(hub, "tiny/random", llama, _tokenizer())
    _spell(llama, llama.model, "explore")
    _save(hub, "tiny/sure", llama, _tokenizer())
    vision = hf.SiglipVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        image_size=16, patch_size=8,
    )  # fmt: skip
    llava = hf.LlavaForConditionalGeneration(
        hf.LlavaConfig(
            vision_config=vision.to_dict(), text_config=text.to_dict(),
            image_token_id=WORDS.index("<image>"), vision_feature_layer=-1,
            vision_feature_select_strategy="full", tie_word_embeddings=False,
        )
    )  # fmt: skip
    _spell(llava, llava.model.language_model, "explore")
    llava.generation_config.eos_token_id = 2
    processor = hf.LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": 16, "width": 16}),
        tokenizer=_tokenizer(), patch_size=8, vision_feature_select_strategy="full",
        chat_template=TEMPLATE, num_additional_image_tokens=0,
    )  # fmt: skip
    _save(hub, "tiny/seeing", llava, processor)


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>", extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    fast.chat_template = TEMPLATE
    return fast


def _spell(model, core, sentence: str) -> None:
    """Set the weights so that each word of ``sentence`` follows the one before, whatever else."""
    import torch

    with torch.no_grad():
        # One-hot words pass unchanged through a block that adds nothing.
        core.embed_tokens.weight.copy_(torch.eye(len(WORDS), core.config.hidden_size))
        for layer in core.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        chain = [WORDS.index(word) for word in ("assistant", *sentence.split(), "</s>")]
        for before, after in pairwise(chain):
            model.lm_head.weight[after, before] = 5.0


def _save(hub: Path, name: str, model, processor) -> None:
    folder = hub / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    model.save_pretrained(snapshot)
    processor.save_pretrained(snapshot)


class TransformersServer:
    """``transformers serve`` in a process of its own.

    Args:
        home: a folder for its models and log.
    """

    def __init__(self, home: Path):
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.log = home / "serve.log"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it unless it runs; returns when it answers."""
        if self.process is not None and self.process.poll() is None:
            return
        offline = {"HF_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                serve_command(self.port),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **offline},
            )
        if not (self.home / "hub").exists():
            build_models(self.home / "hub")  # it looks for models only when asked for one
        deadline = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{self.port}/health"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"transformers serve did not start: {self.log.read_text()}")
            time.sleep(0.1)

    def answered(self) -> int:
        """How many completions it has given."""
        return self.log.read_text().count('"POST /v1/chat/completions HTTP/1.1" 200')

    def signal(self, number: int) -> None:
        """Send it a signal, SIGKILL and SIGSTOP among them."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()


# --- the server that misbehaves -----------------------------------------------------------------


class ScriptedServer:
    """A small HTTP server process that names sensible candidates, unless told otherwise.

    Args:
        settings: see :class:`_Script`.
    """

    def __init__(self, **settings):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.settings = settings
        self.start()

    def start(self) -> None:
        """Start it, or a new one on the same port."""
        arguments = [str(self.port), json.dumps(self.settings)]
        self.process = subprocess.Popen([sys.executable, __file__, *arguments])
        while not answers(f"http://127.0.0.1:{self.port}/log"):
            assert self.process.poll() is None, "the scripted server did not start"
            time.sleep(0.02)

    def play(self, *steps: dict) -> None:
        """Do this at the next completions, one step each; forget what was asked before."""
        self._call("/script", json.dumps(steps).encode())

    def log(self) -> dict:
        """``requests``: bodies; ``keys``: their Authorization; ``peak``: most at once."""
        return json.loads(self._call("/log"))

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def _call(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, 10) as reply:
            return reply.read()


def sensible(prompt: str, said: Sequence[str] = ()) -> str:
    """The candidate not ``said`` before that shares most words with the mission, else ``ready``."""
    listed = re.findall(r"^\d+\. (.+)$", prompt, re.MULTILINE)
    candidates = [text for text in listed if text not in said]
    mission = (
        set(re.findall(r"^Mission: (.+)$", prompt, re.MULTILINE)[0].split()) if candidates else ()
    )
    return max(candidates, key=lambda text: len(mission & set(text.split())), default="ready")


def turns_of(body: dict) -> list[tuple[str, str]]:
    """Roles and texts of a request's messages."""
    return [(message["role"], _text_of(message["content"])) for message in body["messages"]]


def prompt_of(body: dict) -> str:
    """The text of a request's first message."""
    return turns_of(body)[0][1]


def has_image(body: dict) -> bool:
    return any(not isinstance(message["content"], str) for message in body["messages"])


def _text_of(content: str | list[dict]) -> str:
    return content if isinstance(content, str) else content[-1]["text"]


_HELD = {  # the sentences that a request allows, by the field that says so
    "grammar": lambda rule: [json.loads(s) for s in re.findall(r'"(?:[^"\\]|\\.)*"', rule)],
    "guided_choice": list,
    "structured_outputs": lambda kinds: kinds["choice"],
    "response_format": lambda form: form["json_schema"]["schema"]["properties"]["subgoal"]["enum"],
}


class _Script:
    """What the server does.

    Settings: ``models`` it lists and takes; ``key`` it demands (and repeats when refusing);
    ``images`` and ``logprobs``: statuses with which it refuses them; ``sleep`` before each answer;
    ``heeds``: the field by which it can be held to sentences; others are ignored, or refused with
    the status ``strict``.

    A step of the script overrides one answer: ``text``; ``tokens`` (its log-probabilities);
    ``status`` and ``headers``; ``sleep`` seconds; ``raw`` body; ``drip``: send blanks for so many
    seconds; ``cut``: promise more than is sent; ``megabytes`` of blanks, with any status.
    """

    def __init__(self, settings: dict):
        self.settings = settings
        self.lock = threading.Lock()
        self.restart([])

    def restart(self, steps: list[dict]) -> None:
        with self.lock:
            self.steps = list(steps)
            self.log = {"requests": [], "keys": [], "peak": 0}
            self.under_way = 0

    def enter(self, body: dict, key: str) -> dict:
        with self.lock:
            self.log["requests"].append(body)
            self.log["keys"].append(key)
            self.under_way += 1
            self.log["peak"] = max(self.log["peak"], self.under_way)
            return {**self.settings, **(self.steps.pop(0) if self.steps else {})}

    def leave(self) -> None:
        with self.lock:
            self.under_way -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go out one after the other
    script: _Script

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/log":
            self.reply(200, self.script.log)
        elif self.path == "/v1/models":
            models = self.script.settings.get("models", ["small"])
            self.reply(
                200, {"object": "list", "data": [{"id": m, "object": "model"} for m in models]}
            )
        else:
            self.reply(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/script":
            self.script.restart(body)
            self.reply(200, {})
        elif self.path != "/v1/chat/completions":
            self.reply(404, {"detail": "Not Found"})
        else:
            key = self.headers.get("Authorization", "")
            step = self.script.enter(body, key)
            try:
                self.complete(body, key, step)
            finally:
                self.script.leave()

    def complete(self, body: dict, key: str, step: dict) -> None:
        time.sleep(step.get("sleep", 0.0))
        if "key" in step and key != f"Bearer {step['key']}":
            self.reply(401, {"error": {"message": f"Incorrect API key provided: {key}"}})
        elif body["model"] not in step.get("models", ["small"]):
            self.reply(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif "images" in step and has_image(body):
            self.reply(step["images"], {"error": {"message": "image input is not supported"}})
        elif "logprobs" in step and "logprobs" in body:
            self.reply(step["logprobs"], {"error": {"message": "logprobs is not supported"}})
        elif "strict" in step and set(_HELD) & set(body) - {step.get("heeds")}:
            self.reply(step["strict"], {"error": {"message": "unknown field"}})
        elif "megabytes" in step:
            self.head(step.get("status", 200), step["megabytes"] << 20)
            for _ in range(step["megabytes"]):
                self.wfile.write(b" " * 2**20)
        elif "status" in step:
            self.reply(step["status"], {"error": {"message": "on purpose"}}, step.get("headers"))
        elif "raw" in step:
            self.send(200, step["raw"].encode())
        else:
            answer = self.completion(body, step)
            if "drip" in step:
                self.drip(answer, step["drip"])
            else:
                self.send(200, answer, cut=step.get("cut", False))

    def completion(self, body: dict, step: dict) -> bytes:
        prompt = prompt_of(body)
        said = [text for role, text in turns_of(body) if role == "assistant"]
        text = step.get("text", sensible(prompt, said))
        allowed = _HELD[step["heeds"]](body[step["heeds"]]) if step.get("heeds") in body else []
        if allowed and text not in allowed:
            text = allowed[-1]
        if allowed and step["heeds"] == "response_format":
            text = json.dumps({"subgoal": text})
        choice = {"index": 0, "finish_reason": "stop"}
        choice["message"] = {"role": "assistant", "content": text}
        if "logprobs" in body:
            sure = [{"token": text, "logprob": 0.0, "top_logprobs": []}]
            choice["logprobs"] = {"content": step.get("tokens", sure)}
        usage = {"prompt_tokens": len(prompt.split()) + 64 * has_image(body)}
        return json.dumps(
            {"object": "chat.completion", "choices": [choice], "usage": usage}
        ).encode()

    def drip(self, answer: bytes, seconds: float) -> None:
        blanks = round(seconds / 0.05)
        self.head(200, len(answer) + blanks)
        for _ in range(blanks):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(answer)

    def reply(self, status: int, data: dict, headers: dict | None = None) -> None:
        self.send(status, json.dumps(data).encode(), headers)

    def send(
        self, status: int, body: bytes, headers: dict | None = None, cut: bool = False
    ) -> None:
        self.head(status, len(body) + 100 * cut, headers)
        self.wfile.write(body)
        self.close_connection = self.close_connection or cut

    def head(self, status: int, length: int, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address) -> None:
        pass  # a client that gave up waiting


if __name__ == "__main__":
    _Handler.script = _Script(json.loads(sys.argv[2]))
    _Server(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()
