"""A price of one model for one customer or one group is what list, quote, hold, charge and receipt all have."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import requests

from bridge.accounts.customers import set_account_group, set_account_markup
from bridge.accounts.own_price_editing import Owner, remove_own_price, set_own_price
from bridge.accounts.own_prices import list_own_rates
from bridge.catalogue.below_cost import BelowCost, list_losing
from bridge.catalogue.rates import make_rates
from bridge.ops.check_charges import check_charges
from tests.factories import DOLLAR, MadeKey
from tests.gateway import Gateway
from tests.upstream import ScriptedUpstream, says

LIST, TOKENS = 10, 7 + 1  # dollars a million tokens, of prompt and answer alike


class Shop:
    """One model at ten dollars, and a key."""

    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream):
        self.gateway, make = gateway, gateway.make
        upstream.plays(says("Hello"))
        self.model = make.make_model(input_price=LIST * DOLLAR, output_price=LIST * DOLLAR)
        make.make_channel(upstream.base_url, self.model)
        self.key: MadeKey = make.make_key()

    def change(self, change: Callable[..., Any], *arguments: Any, **more: Any) -> None:
        with self.gateway.make.app.app_context():
            change(*arguments, **more)
            self.gateway.make.wait_for_gateway()

    def ask(self, path: str, key: MadeKey) -> Any:
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 5}
        answer = requests.post(f"{self.gateway.base_url}{path}", json=body, headers=key.headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer

    def find_price(self, key: MadeKey | None = None) -> tuple[Decimal, str]:
        """What a million tokens cost and by whose rule, once all who say it say the same."""
        key = key or self.key
        listed = requests.get(f"{self.gateway.base_url}/models/{self.model}", headers=key.headers, timeout=60).json()
        quote, answer = self.ask("/quote", key).json(), self.ask("/chat/completions", key)
        receipt = requests.get(
            f"{self.gateway.base_url}/requests/{answer.headers['x-request-id']}", headers=key.headers, timeout=60
        ).json()
        price = Decimal(listed["pricing"]["prompt"]) * 10**6
        assert Decimal(receipt["charge"]) == price * TOKENS / 10**6
        assert Decimal(quote["max_cost"]) == Decimal(quote["hold"])
        tokens = quote["tokens"]["prompt_at_most"] + quote["tokens"]["output_at_most"]
        assert Decimal(quote["max_cost"]) == price * tokens / 10**6
        return price, receipt["price"]["markup_rule"]


@pytest.fixture
def shop(gateway: Gateway, upstream: ScriptedUpstream) -> Shop:
    return Shop(gateway, upstream)


def test_what_is_nearest_to_the_customer_is_the_price_everywhere(shop: Shop) -> None:
    group, mine = f"group-{shop.key.account_id}", Owner(account_id=shop.key.account_id)
    assert shop.find_price() == (10, "none")
    shop.change(set_account_group, shop.key.account_id, group)
    shop.change(set_own_price, Owner(group=group), shop.model, markup_bps=2000)
    assert shop.find_price() == (12, "group_model")
    assert shop.find_price(shop.gateway.make.make_key()) == (10, "none")
    shop.change(set_account_markup, shop.key.account_id, 3000)
    assert shop.find_price() == (13, "account")
    shop.change(set_own_price, mine, shop.model, rates=make_rates({"input": 14 * DOLLAR, "output": 14 * DOLLAR}))
    assert shop.find_price() == (14, "account_model")
    shop.change(set_own_price, mine, shop.model, markup_bps=5000)
    assert shop.find_price() == (15, "account_model")
    shop.change(remove_own_price, mine, shop.model)
    assert shop.find_price() == (13, "account")
    with shop.gateway.make.app.app_context():
        assert list(check_charges()) == []  # each row has what it needs to work its own charge out


def test_an_own_price_below_cost_has_to_be_meant_and_is_among_those_that_lose(shop: Shop) -> None:
    owner, low = Owner(account_id=shop.key.account_id), make_rates({"input": DOLLAR, "output": 10 * DOLLAR})
    with shop.gateway.make.app.app_context():
        with pytest.raises(BelowCost, match="this customer pays"):
            set_own_price(owner, shop.model, rates=low)
        set_own_price(owner, shop.model, rates=low, below_cost=True)
        [shortfall, *_] = list_losing({}, list_own_rates())[shop.model]
        assert f"(account {owner.account_id}) pays" in shortfall.text
