"""The agents do their tasks offline: the gateway is all that they reach."""

import socket
from pathlib import Path

import pytest

from tests.agents.offline import LOOPBACK, can_be_offline
from tests.agents.programs import Program
from tests.played import Providers

# By bash itself, which every machine has: whether a port accepts, and whether a name leads anywhere.
TRY = """
for address in {addresses}; do
  (exec 3<>/dev/tcp/$address) 2>/dev/null && echo "$address" || true
done
"""


@pytest.mark.skipif(not can_be_offline(), reason="this kernel gives no network of its own to a test")
def test_a_program_reaches_the_gateway_and_nothing_else(providers: Providers, tmp_path: Path):
    port = providers.gateway.port
    with socket.create_server((LOOPBACK, 0)) as other:
        addresses = f"{LOOPBACK}/{other.getsockname()[1]} {LOOPBACK}/{port} example.com/443 1.1.1.1/53"
        done = Program(tmp_path).run_script(TRY.format(addresses=addresses), {}, tmp_path, providers.gateway)
    assert done.output.split() == [f"{LOOPBACK}/{port}"], done


def test_a_program_ends_with_its_own_status(providers: Providers, tmp_path: Path):
    assert Program(tmp_path).run_script("exit 7", {}, tmp_path, providers.gateway).status == 7
