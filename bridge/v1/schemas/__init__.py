"""The API's answers as types: answers are made from them, and so is /openapi.json."""

import msgspec

from bridge.errors import Error
from bridge.v1.schemas.account import BillingSubscription, BillingUsage, Credits, Key
from bridge.v1.schemas.chat import ChatCompletion, ChatCompletionChunk
from bridge.v1.schemas.completions import TextCompletion, TextCompletionChunk
from bridge.v1.schemas.embeddings import EmbeddingList
from bridge.v1.schemas.images import ImageEvent, ImageList
from bridge.v1.schemas.messages import AnthropicModel, AnthropicModelList, Message, MessagesError, TokenCount
from bridge.v1.schemas.models import Model, ModelList
from bridge.v1.schemas.quote import Quote
from bridge.v1.schemas.receipt import Receipt
from bridge.v1.schemas.responses import InputTokens, Response

ANSWERS: tuple[type[msgspec.Struct], ...] = (
    Error,
    ChatCompletion,
    ChatCompletionChunk,
    Response,
    InputTokens,
    EmbeddingList,
    TextCompletion,
    TextCompletionChunk,
    ImageList,
    ImageEvent,
    Model,
    ModelList,
    Quote,
    Key,
    Credits,
    BillingSubscription,
    BillingUsage,
    Receipt,
    Message,
    MessagesError,
    TokenCount,
    AnthropicModel,
    AnthropicModelList,
)
