"""Scripts speak the language of their page: it brings their texts, and none that English has already."""

import json

from bridge.dashboard import script_texts
from bridge.languages import ENGLISH


def test_a_page_brings_the_texts_of_its_scripts_in_its_language(tmp_path, monkeypatch):
    texts = {"bridge": {"Copied": "已复制", "Pay": "</script>"}, "playground": {"Edit": "编辑"}}
    (tmp_path / "zh_Hans" / "LC_MESSAGES").mkdir(parents=True)
    (tmp_path / "zh_Hans" / "LC_MESSAGES" / "scripts.json").write_text(json.dumps(texts))
    monkeypatch.setattr(script_texts, "TRANSLATIONS", tmp_path)
    monkeypatch.setattr(script_texts, "find_language", lambda: "zh_Hans")
    script_texts._write_block.cache_clear()
    block = str(script_texts.bring_texts("bridge", "work"))
    script_texts._write_block.cache_clear()
    head, tail = '<script type="application/json" data-texts>', "</script>"
    assert block.startswith(head)
    assert block.endswith(tail)
    inside = block[len(head) : -len(tail)]
    assert "<" not in inside
    assert json.loads(inside) == texts["bridge"]
    monkeypatch.setattr(script_texts, "find_language", lambda: ENGLISH)
    assert script_texts.bring_texts("bridge") == ""
