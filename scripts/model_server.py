"""Serves the packaged Gemma 3 270M by llama.cpp's own HTTP server, on loopback: model_server.py MODEL.gguf PORT."""

import os
import signal
import sys
import threading
from pathlib import Path

import xllamacpp

NAME = "gemma-3-270m"
REQUESTS_AT_ONCE = 4
CONTEXT_TOKENS = 4096
MOST_OUTPUT_TOKENS = 256  # for a request without a limit: the model seldom ends by itself
HTTP_THREADS = 48  # each connection that is kept alive takes one
# the packaged model is a base model, not one tuned for dialogue: these words begin the next turn and so end its own
TURN_ENDS = ["\nUser:", "\nResult:", "\n<tool_call>"]


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path, port = sys.argv[1], int(sys.argv[2])
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.model_alias = {NAME}
    parameters.n_parallel = REQUESTS_AT_ONCE
    parameters.n_ctx = CONTEXT_TOKENS * REQUESTS_AT_ONCE
    parameters.n_predict = MOST_OUTPUT_TOKENS
    parameters.n_threads_http = HTTP_THREADS
    threads = min(2, os.cpu_count() or 1)
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.use_jinja = True
    parameters.chat_template = Path(__file__).with_name("chat_template.jinja").read_text()
    parameters.antiprompt = TURN_ENDS
    server = xllamacpp.Server(parameters)
    print("listening at", server.listening_address, flush=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_about: stopped.set())
    stopped.wait()
    os._exit(0)  # its threads would keep the process alive


if __name__ == "__main__":
    main()
