"""Headers of an answer that our own code wrote."""


class ReadyHeaders(list[tuple[str, str]]):
    """Names and values that hold what a header may and nothing else, so that the server need not look at each again:
    that takes it longer than writing them. `length` is the body's, in bytes; None for a stream."""

    length: int | None = None
