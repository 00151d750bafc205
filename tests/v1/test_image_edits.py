"""POST /v1/images/edits: pictures go in as files or data URLs, and on to the upstream as they came."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.multipart import MalformedForm, find_boundary, read_parts
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import PIXEL, ScriptedUpstream, picture_counts, pictures
from tests.v1.test_images import MOST, Asking, error_of

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
PNG = b"\x89PNG\r\n\x1a\n" + b"\r\n--some bytes\x00\xff" * 40
JPEG = b"\xff\xd8\xff\xe0 a photograph"
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 "
IMAGE_TOKENS = 8192  # of a picture that is sent: the model's window, since it has no number of its own
Files = list[tuple[str, tuple[str, bytes, str]]]


class Editing(Asking):
    """The same, of edits."""

    def edit(self, files: Files | None = None, headers: dict[str, str] | None = None, **fields: Any):
        fields = {"model": self.model, "prompt": "At night", **fields}
        return requests.post(
            f"{self.gateway.base_url}/images/edits",
            data={name: value for name, value in fields.items() if value is not None},
            files=[("image", ("a.png", PNG, "image/png"))] if files is None else files,
            headers={**self.key.headers, **(headers or {})},
            timeout=60,
        )

    def edit_json(self, **body: Any) -> requests.Response:
        body = {"model": self.model, "prompt": "At night", **body}
        url = f"{self.gateway.base_url}/images/edits"
        return requests.post(url, json=body, headers=self.key.headers, timeout=60)


@pytest.fixture
def editing(gateway: Gateway, upstream: ScriptedUpstream) -> Editing:
    upstream.plays(pictures(usage=picture_counts(3, 200, seen=700)))
    return Editing(gateway, upstream)


def reference(data: bytes, kind: str = "image/png") -> dict[str, str]:
    return {"image_url": f"data:{kind};base64,{base64.b64encode(data).decode()}"}


def test_the_sdk_edits_pictures_with_a_mask(editing: Editing, upstream: ScriptedUpstream, tmp_path: Path):
    for name, data in (("one.png", PNG), ("two.jpg", JPEG), ("mask.png", PNG + b"mask")):
        (tmp_path / name).write_bytes(data)
    with (tmp_path / "one.png").open("rb") as one, (tmp_path / "two.jpg").open("rb") as two:
        answer = editing.sdk.images.edit(
            model=editing.model,
            image=[one, two],
            mask=(tmp_path / "mask.png"),
            prompt="At night",
            n=2,
            input_fidelity="high",
            quality="medium",
            output_compression=70,
            user="someone",
        )
    assert [each.b64_json for each in answer.data or ()] == [PIXEL, PIXEL]
    usage = answer.usage
    assert usage
    assert (usage.input_tokens, usage.input_tokens_details.image_tokens, usage.output_tokens) == (703, 700, 200)
    [sent] = upstream.requests
    fields, files = sent.form
    assert sent.path == "/v1/images/edits"
    assert fields.pop("user") != "someone"
    assert fields == {
        "model": editing.model,
        "prompt": "At night",
        "n": "2",
        "input_fidelity": "high",
        "quality": "medium",
        "output_compression": "70",
    }
    assert files == [
        ("image[]", "image/png", PNG),
        ("image[]", "image/jpeg", JPEG),
        ("mask", "image/png", PNG + b"mask"),
    ]
    assert editing.last().end_user == "someone"


def test_pictures_in_json_go_on_as_files(editing: Editing, upstream: ScriptedUpstream):
    answer = editing.edit_json(images=[reference(WEBP, "image/webp"), reference(PNG)], mask=reference(PNG), n=1)
    assert answer.status_code == 200
    fields, files = upstream.requests[0].form
    assert fields == {"model": editing.model, "prompt": "At night"}
    assert [(name, data) for name, _, data in files] == [("image[]", WEBP), ("image[]", PNG), ("mask", PNG)]


def test_what_was_sent_is_held_and_charged_at_its_own_price(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(pictures(usage=picture_counts(3, 200, seen=700)))
    hold = (len("At night") + 64 + IMAGE_TOKENS) * 2_000 + MOST * 8_000
    editing = Editing(gateway, upstream, balance_nanos=hold)
    assert error_of(editing.edit(n=2))[:2] == (402, "insufficient_balance")
    answer = editing.edit()
    charge = 3 * 1_000 + 700 * 2_000 + 200 * 8_000
    assert json.loads(answer.text, parse_float=str)["usage"]["cost"] == "0.003003"
    usage = editing.last()
    assert (usage.hold_nanos, usage.charge_nanos, usage.prompt_tokens) == (hold, charge, 703)
    receipt = editing.receipt(answer.json()["id"])
    assert receipt["charge"] == "0.003003"
    assert gateway.make.check_ledger() == []


@pytest.mark.parametrize(
    ("files", "fields", "code", "param"),
    [
        ([], {}, "missing_required_parameter", "image"),
        ([("image", ("a.png", b"GIF89a", "image/png"))], {}, "invalid_image", "image"),
        ([("image", ("a.png", b"", "image/png"))], {}, "invalid_image", "image"),
        ([("image[]", ("a", PNG, "")), ("image[]", ("b", b"%PDF", ""))], {}, "invalid_image", "image[1]"),
        ([("image[]", ("a", PNG, ""))] * 17, {}, "invalid_value", "image"),
        ([("image", ("a", PNG, "")), ("mask", ("b", JPEG, ""))], {}, "invalid_image", "mask"),
        ([("image", ("a", PNG, "")), *[("mask", ("b", PNG, ""))] * 2], {}, "invalid_value", "mask"),
        ([("image", ("a", PNG, "")), ("markup", ("b", PNG, ""))], {}, "unsupported_parameter", "markup"),
        (None, {"prompt": None}, "missing_required_parameter", "prompt"),
        (None, {"prompt": b"\xff"}, "invalid_value", "prompt"),
        (None, {"prompt": ["a", "b"]}, "invalid_value", "prompt"),
        (None, {"n": "two"}, "invalid_type", "n"),
        (None, {"n": "11"}, "invalid_value", "n"),
        (None, {"stream": "yes"}, "invalid_type", "stream"),
        (None, {"input_fidelity": "best"}, "invalid_value", "input_fidelity"),
    ],
    ids=str,
)
def test_a_form_that_is_wrong_is_a_400_that_names_the_field(
    editing: Editing,
    upstream: ScriptedUpstream,
    files: Files | None,
    fields: dict[str, Any],
    code: str,
    param: str,
):
    answer = editing.edit(files or ([("model", (None, editing.model))] if files == [] else None), **fields)
    if files == []:  # requests sends no form without a file
        answer = editing.edit([("size", (None, b"auto", ""))])  # type: ignore[list-item]
    assert error_of(answer) == (400, code, param)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "images"),
        ({"images": []}, "missing_required_parameter", "images"),
        ({"images": "data:"}, "invalid_type", "images"),
        ({"images": [{"file_id": "file-1"}]}, "invalid_type", "images[0]"),
        ({"images": [{"image_url": "https://a.example/1.png"}]}, "invalid_image", "images[0].image_url"),
        ({"images": [{"image_url": "data:image/png;base64,%%"}]}, "invalid_image", "images[0].image_url"),
        ({"images": [reference(b"GIF89a")]}, "invalid_image", "images[0].image_url"),
        ({"images": [reference(PNG)], "mask": reference(JPEG)}, "invalid_image", "mask.image_url"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_json_that_is_wrong_is_a_400_that_names_the_place(
    editing: Editing, upstream: ScriptedUpstream, body: dict[str, Any], code: str, param: str
):
    assert error_of(editing.edit_json(**body)) == (400, code, param)
    assert upstream.requests == []


NAMELESS = b'--a\r\nContent-Disposition: form-data; name=""\r\n\r\nx\r\n--a--'


def test_a_body_that_is_no_form_is_refused(editing: Editing):
    url = f"{editing.gateway.base_url}/images/edits"
    for kind, body, expected in (
        ("multipart/form-data", b"--a--", (400, "invalid_form", None)),
        ("multipart/form-data; boundary=a", b"--a\r\nnothing", (400, "invalid_form", None)),
        ("multipart/form-data; boundary=a", b"--a\r\n\r\n\r\nx\r\n--a--", (400, "invalid_form", None)),
        ("multipart/form-data; boundary=a", NAMELESS, (400, "invalid_form", None)),
        ("text/plain", b"hello", (415, "unsupported_media_type", None)),
    ):
        answer = requests.post(url, data=body, headers={**editing.key.headers, "Content-Type": kind}, timeout=60)
        assert error_of(answer) == expected
    form = {"Content-Type": "multipart/form-data; boundary=a"}
    for path in ("images/generations", "chat/completions"):
        answer = requests.post(
            f"{editing.gateway.base_url}/{path}", data=b"--a--", headers={**editing.key.headers, **form}, timeout=60
        )
        assert answer.status_code == 415


def test_a_body_above_the_limit_is_refused_before_it_is_read(editing: Editing, upstream: ScriptedUpstream):
    most = editing.gateway.settings.max_body_bytes
    answer = editing.edit([("image", ("a.png", PNG + bytes(most), "image/png"))])
    assert error_of(answer)[:2] == (413, "request_too_large")
    assert upstream.requests == []


def test_the_same_edit_under_one_idempotency_key_is_paid_for_once_whatever_stands_between_its_fields(
    editing: Editing, upstream: ScriptedUpstream
):
    first, again = (editing.edit(headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.request.headers["Content-Type"] != again.request.headers["Content-Type"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.content, len(upstream.requests)) == (first.content, 1)
    other = [("image", ("a.png", PNG + b"other", "image/png"))]
    assert error_of(editing.edit(other, headers={"Idempotency-Key": "once"}))[:2] == (422, "idempotency_mismatch")


def test_the_sandbox_edits_too(gateway: Gateway):
    sdk = open_sdk(gateway, gateway.make.make_key(gateway.make.make_account(100 * DOLLAR)).secret)
    answer = sdk.images.edit(model="gpt-image-1-mini", image=("a.png", PNG), prompt="At night", n=2)
    assert len(answer.data or ()) == 2
    assert answer.usage
    assert answer.usage.input_tokens_details.image_tokens > 0


@pytest.mark.parametrize("data", [b"", b"--b", b"--b\r\n", b"--b--", b"x\r\n--b--"])
def test_a_form_without_fields_or_without_an_end(engine: str, data: bytes):
    if data.endswith(b"--"):
        assert read_parts(data, b"b", 1) == []
    else:
        with pytest.raises(MalformedForm):
            read_parts(data, b"b", 1)


def test_only_a_form_has_a_boundary(engine: str):
    assert find_boundary('multipart/form-data; boundary="a b"') == b"a b"
    for kind in ("", "application/json", "multipart/form-data", "multipart/mixed; boundary=a"):
        with pytest.raises(MalformedForm):
            find_boundary(kind)
