"""Sign-in services on a loopback socket: an OpenID Connect provider, and GitHub."""

import base64
import hashlib
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gevent.pywsgi import WSGIServer
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "our-client", "our-secret"
_KEY = RSAKey.generate_key(2048, {"kid": "one"}, private=True)


class Elsewhere:
    """Both services. `person` is who signs in there; `claims` replace what the identity token says; a code is good
    once, and for the verifier whose challenge came with the question."""

    def __init__(self) -> None:
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self._server.start()
        self.person: dict[str, Any] = {"sub": "17", "email": "ada@example.com", "email_verified": True}
        self.emails = [{"email": "ada@example.com", "primary": True, "verified": True}]
        self.claims: dict[str, Any] = {}
        self.key = _KEY
        self.issuer = ""  # what it calls itself, if not by its address
        self.asked: dict[str, str] = {}
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def settings(self) -> dict[str, str]:
        found = {"oidc_issuer": self.base, "github_url": self.base, "github_api_url": self.base, "oidc_label": "Corp"}
        for name in ("oidc", "github"):
            found |= {f"{name}_client_id": CLIENT, f"{name}_client_secret": SECRET}
        return found

    def agree(self, address: str) -> str:
        """What the browser is sent back to, with a code, after the person has agreed."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert asked["code_challenge_method"] == "S256"
        self.asked = asked
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return f"{urlsplit(asked['redirect_uri']).path}?code={code}&state={asked['state']}"

    def close(self) -> None:
        self._server.stop(timeout=1)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        form = {name: values[0] for name, values in parse_qs(environ["wsgi.input"].read().decode()).items()}
        found = self._find(environ["PATH_INFO"], form, environ.get("HTTP_AUTHORIZATION", ""))
        status = "404 Not Found" if found is None else "400 Bad Request" if "error" in found else "200 OK"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(found or {}).encode()]

    def _find(self, path: str, form: dict[str, str], authorization: str) -> Any:
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            return {"issuer": self.issuer or self.base} | {name: f"{self.base}/{end}" for name, end in names.items()}
        if path == "/keys":
            return {"keys": [_KEY.as_dict(private=False)]}
        if path in ("/token", "/login/oauth/access_token"):
            return self._give_token(form)
        if authorization != "Bearer opens-all":
            return None
        return {"/user": {"id": 17, "login": "ada"}, "/user/emails": self.emails}.get(path)

    def _give_token(self, form: dict[str, str]) -> dict[str, Any]:
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or (form["client_id"], form["client_secret"]) != (CLIENT, SECRET):
            return {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        fits = base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        if not fits or form["redirect_uri"] != asked["redirect_uri"]:
            return {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.base, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked.get("nonce", "")}
        claims |= {**self.person, **self.claims}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return {"access_token": "opens-all", "token_type": "Bearer", "id_token": token}
