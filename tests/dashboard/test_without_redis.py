"""Without Redis the pages are served, and sign-in stays limited: by each process for itself."""

import pytest

from app import create_app
from tests.dashboard.pages import post
from tests.factories import Factories
from tests.rooms import close_rooms, make_settings


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_without_redis_sign_in_is_served_and_limited_all_the_same(tmp_path, database_url):
    app = create_app(make_settings(tmp_path, database_url=database_url, redis_url="redis://127.0.0.1:1/0"))
    email, client = Factories(app).make_account().email, app.test_client()
    statuses = [
        post(client, "/sign-in", "/sign-in", email=email, password="not the password").status_code for _ in range(12)
    ]
    assert statuses == [401] * 10 + [429] * 2
    close_rooms(app)
