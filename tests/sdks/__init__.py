"""The SDKs that people use, each on every provider. See `test_sdks.py`."""

import pytest

pytest.register_assert_rewrite("tests.sdks.cases")
