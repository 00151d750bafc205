"""An e-mail address is read in one place: in every form it belongs to the same member."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.accounts.customers import find_account_id
from bridge.accounts.emails import check_email, find_by_email, find_member, normalise_email
from bridge.accounts.sign_in import sign_in
from bridge.ledger.opening import create_account
from bridge.mail.smtp import MailServer, write_message

PASSWORD = "correct horse battery staple"
FORMS = {
    "puny@münchen.example": ["puny@xn--mnchen-3ya.example", "PUNY@MÜNCHEN.example", " puny@münchen.example "],
    "josé@example.com": [unicodedata.normalize("NFD", "josé@example.com"), "JOSÉ@EXAMPLE.COM"],
    "ada@example.com": ["Ada@Example.com", "ada@EXAMPLE.COM", "ada@example.com\n"],
}


@pytest.mark.parametrize(
    ("kept", "written"), [(kept, form) for kept, forms in FORMS.items() for form in [kept, *forms]]
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_whoever_signed_up_enters_and_is_found_by_every_form(app, kept: str, written: str):
    with app.app_context():
        member = create_account(written, PASSWORD)
        assert member.email == kept
        for form in [kept, *FORMS[kept]]:
            assert sign_in(form, PASSWORD).id == member.id
            assert find_member(form).id == member.id
            assert find_account_id(form) == member.account_id


@given(st.text(max_size=300))
def test_what_is_no_address_has_a_form_too_and_nothing_is_raised(text: str):
    kept = normalise_email(text)
    assert "\0" not in kept
    assert normalise_email(kept) == kept or "@" not in kept or len(kept) <= 254


@given(st.emails())
def test_the_form_of_a_form_is_the_same(text: str):
    try:
        kept = check_email(text)
    except ValueError:
        return
    assert check_email(kept) == kept == normalise_email(text)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_nul_finds_nobody(app):
    with app.app_context():
        assert find_by_email("ada\0@example.com") is None


def test_a_mail_goes_to_the_domain_in_ascii():
    server = MailServer("127.0.0.1", 25, "", "", "AI Bridge <no-reply@gateway.example>", False, True)
    assert write_message(server, "puny@münchen.example", "s", "t", 1)["To"] == "puny@xn--mnchen-3ya.example"
