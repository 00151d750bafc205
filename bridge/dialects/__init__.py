"""What clients speak: a folder for each dialect, which reads their requests and writes their answers."""

# What an answer's id begins with, by the endpoint that gave it, as the ledger calls that: the rest is the request's.
ANSWER_PREFIXES = {
    "chat": "chatcmpl-",
    "messages": "msg_",
    "responses": "resp_",
    "embeddings": "embd-",
    "completions": "cmpl-",
    "images": "img-",
}


def answer_id(endpoint: str, request_id: str) -> str:
    """The id that the answer carries: with it, whoever has the answer finds the receipt."""
    return ANSWER_PREFIXES[endpoint] + request_id[4:]
