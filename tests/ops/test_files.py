"""Files as the server sends them: whole, behind their head, to a browser that keeps its connection."""

from pathlib import Path

import pytest
import requests

from tests.gateway import Gateway
from tests.warm import ROOT

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.mark.parametrize("name", ["bridge.css", "vendor/tabler/tabler.min.css", "vendor/fonts/IBM-Plex-Sans-LICENSE"])
def test_a_file_comes_whole_over_a_connection_that_goes_on(gateway: Gateway, name: str):
    path = Path(ROOT, "static", name)
    with requests.Session() as session:
        session.trust_env = False
        for encoding in ("identity", "gzip", "identity"):
            answer = session.get(f"{gateway.site_url}/static/{name}", headers={"Accept-Encoding": encoding})
            assert (answer.status_code, answer.content) == (200, path.read_bytes())
        head = session.head(f"{gateway.site_url}/static/{name}", headers={"Accept-Encoding": "identity"})
        assert (head.headers["Content-Length"], head.content) == (str(path.stat().st_size), b"")
        unchanged = session.get(answer.url, headers={"If-Modified-Since": answer.headers["Last-Modified"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
