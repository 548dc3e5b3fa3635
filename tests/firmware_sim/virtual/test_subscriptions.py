"""The index finds what a filter matches by MQTT 4.7, read word by word."""

from hypothesis import given
from hypothesis import strategies as st

from fedling_sim.virtual.subscriptions import Subscriptions

WORDS = st.sampled_from(["a", "b", "", "$s"])
TOPICS = st.lists(WORDS, min_size=1, max_size=4).map("/".join)
LEVELS = st.lists(st.sampled_from(["a", "b", "", "$s", "+"]), max_size=4)
FILTERS = st.builds(
    lambda words, end: "/".join([*words, *end]), LEVELS, st.sampled_from([[], ["#"]])
)


def matches(filter_: str, topic: str) -> bool:
    """Slowly."""
    wanted, words = filter_.split("/"), topic.split("/")
    if words[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for i, want in enumerate(wanted):
        if want == "#":
            return True
        if i >= len(words) or want not in ("+", words[i]):
            return i == len(words) and wanted[i:] == ["#"]
    return len(wanted) == len(words)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), FILTERS, st.integers(1, 3))
    | st.tuples(st.sampled_from(["retain", "forget"]), TOPICS, st.just(0)),
    max_size=30,
)


@given(STEPS, st.lists(TOPICS, min_size=1), st.lists(FILTERS, min_size=1))
def test_index_finds_what_a_search_would(
    steps: list[tuple[str, str, int]], topics: list[str], filters: list[str]
) -> None:
    index: Subscriptions[int] = Subscriptions()
    subscribed: set[tuple[str, int]] = set()
    kept: dict[str, None] = {}
    for step, text, who in steps:
        if step == "add":
            index.add(text, who)
            subscribed.add((text, who))
        elif step == "remove":
            index.remove(text, who)
            subscribed.discard((text, who))
        elif step == "retain":
            index.retain(text)
            kept[text] = None
        else:
            index.forget(text)
            kept.pop(text, None)
    for topic in topics:
        found = list(index.matching(topic))
        assert len(found) == len(set(found))
        assert set(found) == {who for filter_, who in subscribed if matches(filter_, topic)}
    for filter_ in filters:
        assert index.retained(filter_) == [topic for topic in kept if matches(filter_, topic)]
