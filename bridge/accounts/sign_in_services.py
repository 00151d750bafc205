"""Signing in by an account elsewhere: GitHub (OAuth 2), Google and any OpenID Connect provider. State, nonce and PKCE
tie the answer to the browser that asked; an address counts only if the service has verified it.

The library is loaded when it is needed: many gateways use no such service."""

import dataclasses
import secrets
from typing import Protocol
from urllib.parse import urlencode

from bridge.accounts.outward import ServiceAway, get_json, post_form
from bridge.config import Settings
from bridge.json_types import JsonObject

GOOGLE = "https://accounts.google.com"
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
MAX_SUBJECT_LENGTH = 255
LEEWAY_SECONDS = 60


class ServiceRefused(Exception):
    """The service, or the person there, didn't let them in; or its word can't be trusted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What ties an answer to its question; kept by the browser that asked, and nowhere else."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def draw(cls) -> "Asked":
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """Whom the service knows: its own id for them, a name to show, and an address, if it has verified one."""

    subject: str
    label: str
    email: str | None


class Service(Protocol):
    """One way to sign in elsewhere."""

    name: str  # in addresses and rows
    label: str  # for people

    def write_address(self, asked: Asked) -> str:
        """Where to send the browser. Raises ServiceAway."""

    def find_known(self, asked: Asked, code: str) -> Known:
        """Who came back with this code. Raises ServiceAway or ServiceRefused."""


class GitHub:
    """GitHub, or an Enterprise Server of one's own."""

    name, label = "github", "GitHub"

    def __init__(self, settings: Settings):
        self._settings = settings
        self._site = settings.github_url.rstrip("/")
        self._api = settings.github_api_url.rstrip("/")

    def write_address(self, asked: Asked) -> str:
        fields = {"client_id": self._settings.github_client_id, "scope": "read:user user:email"}
        fields |= _write_common(self._settings, self.name, asked)
        return f"{self._site}/login/oauth/authorize?{urlencode(fields)}"

    def find_known(self, asked: Asked, code: str) -> Known:
        fields = {
            "client_id": self._settings.github_client_id,
            "client_secret": self._settings.github_client_secret,
        }
        url = f"{self._site}/login/oauth/access_token"
        token = _read_token(
            post_form(self._settings, url, fields | _answer(self._settings, self.name, asked, code), {})
        )
        headers = {"Authorization": f"Bearer {token['access_token']}", "Accept": "application/vnd.github+json"}
        user = get_json(self._settings, f"{self._api}/user", headers)
        emails = get_json(self._settings, f"{self._api}/user/emails", headers)
        try:
            email = next((one["email"] for one in emails if one["primary"] and one["verified"]), None)
            return Known(str(int(user["id"])), str(user["login"])[:100], email)
        except (KeyError, TypeError, ValueError):
            raise ServiceAway("GitHub described no user") from None


class OpenIdConnect:
    """A provider that describes itself at its issuer's address."""

    def __init__(self, settings: Settings, name: str, label: str, *, issuer: str, client: tuple[str, str]):
        self.name, self.label = name, label
        self._settings = settings
        self._issuer = issuer.rstrip("/")
        self._client_id, self._client_secret = client

    def write_address(self, asked: Asked) -> str:
        fields = {"client_id": self._client_id, "scope": "openid email profile", "nonce": asked.nonce}
        fields |= _write_common(self._settings, self.name, asked)
        address = self._discover()["authorization_endpoint"]
        return f"{address}{'&' if '?' in address else '?'}{urlencode(fields)}"

    def find_known(self, asked: Asked, code: str) -> Known:
        found = self._discover()
        fields = {"client_id": self._client_id, "client_secret": self._client_secret}
        fields |= _answer(self._settings, self.name, asked, code)
        token = _read_token(post_form(self._settings, found["token_endpoint"], fields, {}))
        claims = self._read_claims(found["jwks_uri"], token, asked)
        subject, email = str(claims["sub"]), claims.get("email")
        if not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
            raise ServiceRefused("its id of the person is too long")
        verified = isinstance(email, str) and claims.get("email_verified") is True
        return Known(subject, str(email or claims.get("name") or subject)[:100], email if verified else None)

    def _discover(self) -> JsonObject:
        found = get_json(self._settings, f"{self._issuer}/.well-known/openid-configuration")
        wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in wanted):
            raise ServiceAway(f"{self._issuer} does not describe itself")
        if str(found.get("issuer", "")).rstrip("/") != self._issuer:
            raise ServiceAway(f"{self._issuer} describes itself as somebody else")
        return found

    def _read_claims(self, jwks_uri: str, token: JsonObject, asked: Asked) -> JsonObject:
        """The identity token's claims: signed by the issuer, made for us, for this question, and still good."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        keys = get_json(self._settings, jwks_uri)
        try:
            read = jwt.decode(str(token.get("id_token", "")), KeySet.import_key_set(keys), algorithms=ALGORITHMS)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ServiceRefused(f"its identity token can't be read: {type(error).__name__}") from None
        issuers = [self._issuer, f"{self._issuer}/"]
        options = {"iss": {"essential": True, "values": issuers}, "aud": {"essential": True, "value": self._client_id}}
        params = {"nonce": asked.nonce, "client_id": self._client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(read.claims, read.header, options, params)
        try:
            claims.validate(leeway=LEEWAY_SECONDS)
        except Exception as error:  # noqa: BLE001 - the library's errors have no common class that it exports
            raise ServiceRefused(f"its identity token is not for us, or not good any more: {error}") from None
        return dict(claims)


def list_services(settings: Settings) -> list[Service]:
    """The services that are configured."""
    found: list[Service] = []
    if settings.github_client_id and settings.github_client_secret:
        found.append(GitHub(settings))
    if settings.google_client_id and settings.google_client_secret:
        client = (settings.google_client_id, settings.google_client_secret)
        found.append(OpenIdConnect(settings, "google", "Google", issuer=GOOGLE, client=client))
    if settings.oidc_issuer and settings.oidc_client_id and settings.oidc_client_secret:
        client = (settings.oidc_client_id, settings.oidc_client_secret)
        found.append(OpenIdConnect(settings, "oidc", settings.oidc_label, issuer=settings.oidc_issuer, client=client))
    return found


def find_service(settings: Settings, name: str) -> Service | None:
    """The configured service of this name."""
    return next((service for service in list_services(settings) if service.name == name), None)


def _find_return(settings: Settings, name: str) -> str:
    """Where the service sends the browser back to; operators register it there."""
    return f"{settings.site_url}/sign-in/with/{name}/back"


def _write_common(settings: Settings, name: str, asked: Asked) -> dict[str, str]:
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    return {
        "response_type": "code",
        "redirect_uri": _find_return(settings, name),
        "state": asked.state,
        "code_challenge": create_s256_code_challenge(asked.verifier),
        "code_challenge_method": "S256",
    }


def _answer(settings: Settings, name: str, asked: Asked, code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _find_return(settings, name),
        "code_verifier": asked.verifier,
    }


def _read_token(found: object) -> JsonObject:
    if not isinstance(found, dict) or not isinstance(found.get("access_token"), str):
        problem = found.get("error") if isinstance(found, dict) else None
        raise ServiceRefused(f"it gave no token: {str(problem)[:60]}")
    return found
