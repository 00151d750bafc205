"""Which channels serve a model."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue.rules import ChannelIndex, channels_of, serves


@dataclasses.dataclass
class AModel:
    id: str = "gpt-4o"
    provider: str = "openai"
    upstream_id: str = "gpt-4o-2024"


@dataclasses.dataclass
class AChannel:
    name: str
    provider: str = "openai"
    models: dict[str, str] | None = None
    priority: int = 1
    weight: int = 1
    enabled: bool = True
    groups: list[str] | None = None
    from_environment: bool = False
    sealed_key: str | None = None


SANDBOX = AChannel("sandbox", "sandbox", priority=1000)


def names(model: AModel, *channels: AChannel) -> list[tuple[str, str]]:
    return [(channel.name, upstream_id) for channel, upstream_id in channels_of(model, channels)]


def test_a_channel_without_a_list_serves_its_provider_s_models_under_their_upstream_names():
    assert names(AModel(), AChannel("a"), AChannel("b", "anthropic")) == [("a", "gpt-4o-2024")]


def test_a_channel_with_a_list_serves_what_it_lists_under_its_own_names():
    assert names(AModel(), AChannel("a", models={"gpt-4o": "x"}), AChannel("b", models={"o3": "o3"})) == [("a", "x")]


def test_a_list_may_name_another_provider_s_model():
    assert names(AModel("kimi", "moonshot"), AChannel("router", models={"kimi": "moonshot/kimi"})) == [
        ("router", "moonshot/kimi")
    ]


def test_an_empty_list_serves_nothing():
    assert names(AModel(), AChannel("a", models={})) == []


def test_channels_come_by_priority_then_weight_then_name():
    channels = [AChannel("c", priority=2), AChannel("b"), AChannel("a"), AChannel("heavy", weight=5)]
    assert [name for name, _ in names(AModel(), *channels)] == ["heavy", "a", "b", "c"]


def test_a_disabled_channel_is_not_used():
    assert names(AModel(), AChannel("a", enabled=False)) == []


def test_the_sandbox_stands_in_under_the_public_name():
    assert names(AModel(), SANDBOX, AChannel("b", "anthropic")) == [("sandbox", "gpt-4o")]


def test_the_sandbox_never_stands_beside_or_behind_a_real_channel():
    assert names(AModel(), SANDBOX, AChannel("a")) == [("a", "gpt-4o-2024")]
    assert names(AModel(), SANDBOX, AChannel("a", enabled=False)) == []


def test_the_sandbox_steps_in_again_for_a_channel_whose_key_has_left_the_environment():
    gone = AChannel("openai-env", enabled=False, from_environment=True)
    assert names(AModel(), SANDBOX, gone) == [("sandbox", "gpt-4o")]
    assert names(AModel(), SANDBOX, gone, AChannel("a", enabled=False)) == []


def test_the_sandbox_s_own_models_are_its_own():
    model = AModel("sandbox-429", "sandbox", "sandbox-429")
    assert names(model, SANDBOX, AChannel("a")) == [("sandbox", "sandbox-429")]


def test_a_sandbox_with_a_list_keeps_to_it():
    listed = AChannel("s", "sandbox", models={"gpt-4o": "gpt-4o"})
    assert serves(listed, AModel(), [listed, AChannel("a")])
    assert not serves(listed, AModel("o3"), [listed])


def test_a_model_s_channels_are_found_without_a_look_at_the_others():
    looked_at: list[str] = []

    class Watched(AChannel):
        def __getattribute__(self, name: str) -> object:
            if name == "groups":
                looked_at.append(object.__getattribute__(self, "name"))
            return object.__getattribute__(self, name)

    index = ChannelIndex([Watched(f"c{number}", models={f"m{number // 2}": "up"}) for number in range(200)])
    for number in range(100):
        found = [channel.name for channel, _ in index.of(AModel(f"m{number}"))]
        assert sorted(found) == sorted([f"c{2 * number}", f"c{2 * number + 1}"])
    assert len(looked_at) == 200


@given(st.data())
def test_an_index_finds_whatever_serves(data: st.DataObject):
    providers = st.sampled_from(["openai", "anthropic", "sandbox"])
    lists = st.none() | st.dictionaries(st.sampled_from(["m", "n"]), st.just("up"), max_size=2)
    numbers = st.integers(1, 3)
    switches = [data.draw(st.booleans()) for _ in range(data.draw(st.integers(0, 6)))]
    channels = [
        AChannel(
            f"c{number}",
            provider=data.draw(providers),
            models=data.draw(lists),
            priority=data.draw(numbers),
            weight=data.draw(numbers),
            enabled=enabled,
            from_environment=not enabled and data.draw(st.booleans()),
        )
        for number, enabled in enumerate(switches)
    ]
    model = AModel("m", provider=data.draw(providers))
    expected = [channel for channel in channels if channel.enabled and serves(channel, model, channels)]
    expected.sort(key=lambda channel: (channel.priority, -channel.weight, channel.name))
    assert [channel for channel, _ in ChannelIndex(channels).of(model)] == expected
