"""Operators: who they are, with role, last sign-in and second factor; let in, change the role, remove."""

from typing import Any

from flask import current_app, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.emails import find_by_email
from bridge.accounts.operators import RIGHTS, ROLE_NAMES, ROLES, Operator, list_operators, set_operator
from bridge.accounts.operators import may as role_may
from bridge.accounts.sign_in import find_member_by_id
from bridge.accounts.tables import Member
from bridge.admin.door import admin, find_operator, name_role, needs_right
from bridge.errors import NotFound
from bridge.forms import FormReader
from bridge.languages import translate, translate_plural


@admin.get("/operators")
@needs_right("operators")
def show_operators() -> str:
    return _render(FormReader({}))


@admin.post("/operators")
@needs_right("operators")
def make_operator() -> Any:
    """Let a member in who has an account already."""
    form = FormReader(request.form)
    email, role = form.require("email", translate("Give the address with which they sign in.")), form.text("role")
    member = find_by_email(email) if email else None
    if email and member is None:
        form.errors["email"] = translate("Nobody signs in with this address. Let them create an account first.")
    elif member is not None and member.is_operator:
        form.errors["email"] = translate("They are an operator already. Change their role in the list.")
    if member is not None and not form.errors:
        with form.collect_errors():
            set_operator(member.id, role, find_operator())
            flash(
                translate(
                    "%(email)s is an operator with the role %(role)s. They have to sign in again.",
                    email=member.email,
                    role=name_role(role),
                )
            )
            return redirect(url_for("admin.show_operators"), 303)
    return _render(form), 400


@admin.post("/operators/<int:operator_id>/role")
@needs_right("operators")
def change_operator(operator_id: int) -> Any:
    """Give an operator another role: their sessions end at once."""
    member, form = _find(operator_id), FormReader(request.form)
    with form.collect_errors():
        set_operator(member.id, form.text("role"), find_operator())
        flash(
            translate(
                "%(email)s has the role %(role)s. They have to sign in again.",
                email=member.email,
                role=name_role(form.text("role")),
            )
        )
        return _go_on(member)
    return _render(form), 400


@admin.post("/operators/<int:operator_id>/remove")
@needs_right("operators")
def drop_operator(operator_id: int) -> Any:
    """Let an operator in no longer: their sessions end at once. The account stays."""
    member, form = _find(operator_id), FormReader(request.form)
    with form.collect_errors():
        set_operator(member.id, None, find_operator())
        flash(translate("%(email)s is no longer an operator.", email=member.email))
        return _go_on(member)
    return _render(form), 400


def _find(operator_id: int) -> Member:
    member = find_member_by_id(operator_id)
    if member is None or not member.is_operator:
        raise NotFound(translate("There is no such operator."))
    return member


def _go_on(member: Member) -> Response:
    """Back to the list, which who has changed their own role may not see any more: they have to sign in first."""
    endpoint = "welcome.show_sign_in" if member.id == g.member.id else "admin.show_operators"
    return redirect(url_for(endpoint), 303)


def _name_factors(one: Operator) -> str:
    """What an operator signs in with beside a password, or instead of it; "" for nothing."""
    keys = translate_plural("%(num)s passkey", "%(num)s passkeys", one.passkeys) if one.passkeys else ""
    if one.has_code and keys:
        return translate("App and %(passkeys)s", passkeys=keys)
    return translate("App") if one.has_code else keys


def _render(form: FormReader) -> str:
    operators = list_operators()
    return render_template(
        "admin/operators.html",
        operators=operators,
        second_factors={one.member.id: _name_factors(one) for one in operators},
        roles=ROLES,
        choices=[(role, translate(name)) for role, name in ROLE_NAMES.items()],
        rights={right: text for right, (text, _) in RIGHTS.items()},
        role_may=role_may,
        requires_second_factor=current_app.config["BRIDGE"].require_second_factor,
        values=form.values,
        errors=form.errors,
    )
