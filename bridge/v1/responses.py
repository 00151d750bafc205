"""POST /v1/responses, without stored state."""

from collections.abc import Iterable

from flask import Response

from bridge.conversation.answer import Dialect
from bridge.dialects.responses.numbers import Numbered
from bridge.dialects.responses.writer import Kept, Responses
from bridge.inference.plan import Plan
from bridge.reasoning.items import keep_items
from bridge.v1.inference import answer_inference
from bridge.v1.responses_body import plan_response
from bridge.v1.visit import Visit


def create_response(visit: Visit) -> Response:
    """One response, whole or streamed."""
    asking = _Asking(visit)
    answer = answer_inference(visit, asking.plan)
    asking.keep()
    return answer


class _Asking:
    """One request, and what its answer leaves to be kept."""

    def __init__(self, visit: Visit):
        self._visit, self._kept, self._stores = visit, Kept(), False

    def plan(self, visit: Visit, data: bytes) -> tuple[Plan, Dialect]:
        """See `answer_inference`."""
        plan, asked = plan_response(visit, data)
        assert visit.caller is not None
        dialect = Responses(asked, visit.caller.account_id, self._kept)
        self._stores = asked.stores
        head = dialect.head(visit.request_id)

        def number(frames: Iterable[bytes]) -> Iterable[bytes]:
            return Numbered(frames, head, self.keep)

        visit.outlet = number
        return plan, dialect

    def keep(self) -> None:
        """Keep the output, so that the next request may refer to it."""
        items, self._kept.items = self._kept.items, []
        if items and self._stores:
            assert self._visit.caller is not None
            with self._visit.services.app.app_context():
                keep_items(self._visit.caller.account_id, items)
