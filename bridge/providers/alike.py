"""Reads events of one read together where they differ in one text alone: they are taken apart, checked and put together
again all at once."""

import msgspec

EDGE_BYTES = 8
_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode
_RUBBISH = (msgspec.MsgspecError, UnicodeError)


def split_alike(whole: bytes, separator: bytes, before: bytes, after: bytes) -> tuple[list[bytes], list[str]] | None:
    """The texts of these events, as they stand between the quotes and decoded; None unless each event is `before`, one
    JSON text without its quotes, `after`."""
    rest = len(whole) - len(after)
    if rest < len(before) or not whole.startswith(before) or not whole.endswith(after):
        return None
    inner = whole[len(before) : rest]
    if separator not in inner:  # mostly a read is one event
        try:
            return [inner], [_decode_text(b'"' + inner + b'"')]
        except _RUBBISH:
            return None
    # Each event is as long around its text as it should be; whether it also reads so is seen below. A few bytes on each
    # side of the separator are quicker to look for than it alone, or than all of them.
    head, tail = before[:EDGE_BYTES], after[-EDGE_BYTES:]
    start, end = len(before) - len(head), len(tail) - len(after) or None
    events = whole[len(head) : len(whole) - len(tail)].split(tail + separator + head)
    pieces = [event[start:end] for event in events]
    if (after + separator + before).join(pieces) != inner:
        return None
    texts = decode_texts(pieces)
    return None if texts is None else (pieces, texts)


def decode_texts(pieces: list[bytes]) -> list[str] | None:
    """JSON texts without their quotes, decoded; None unless each of them is just that.

    They are decoded as one list whose commas are followed by a line break. No text may have one inside, so each break
    stands between two texts: as many texts as pieces means that each piece is exactly one."""
    try:
        if len(pieces) == 1:
            return [_decode_text(b'"' + pieces[0] + b'"')]
        texts = _decode_texts(b'["' + b'",\n"'.join(pieces) + b'"]')
    except _RUBBISH:
        return None
    return texts if len(texts) == len(pieces) else None
