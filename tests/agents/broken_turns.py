"""What an agent does about a turn that didn't end as it should, and what it paid for it, where several do the same."""

from collections.abc import Callable
from pathlib import Path

from tests.agents.books import check_only_the_delivered_part_is_paid_too, check_paid_once
from tests.agents.programs import Finished
from tests.agents.task import NOTES, TURNS, Agentic, break_off, leave_out_the_end
from tests.played import Caller, Providers

Run = Callable[[str], Finished]  # the program's, on a model


def check_it_asks_once_more(
    run: Run, model: str, providers: Providers, provider: str, caller: Caller, folder: Path
) -> None:
    """Its first turn breaks off: the program asks once more and does the task, and what came is paid too."""
    upstream = Agentic(provider, first=break_off)
    providers[provider].plays(upstream)
    done = run(model)
    assert (done.status, (folder / "notes.txt").read_text()) == (0, NOTES), done
    assert [len(turn.results) for turn in upstream.turns] == [0, *range(TURNS)], done
    check_only_the_delivered_part_is_paid_too(caller, [*upstream.turns, *upstream.asides], upstream.turns[0])


def check_it_misses_no_end(
    run: Run, model: str, providers: Providers, provider: str, caller: Caller, folder: Path
) -> None:
    """Its first turn has no end mark: the program does the task and asks for no turn again."""
    upstream = Agentic(provider, first=leave_out_the_end)
    providers[provider].plays(upstream)
    done = run(model)
    assert (done.status, (folder / "notes.txt").read_text()) == (0, NOTES), done
    assert [len(turn.results) for turn in upstream.turns] == list(range(TURNS)), done
    check_paid_once(caller, [*upstream.turns, *upstream.asides])
