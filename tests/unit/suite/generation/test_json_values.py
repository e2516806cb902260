"""JSON values that servers often handle badly, sent in few requests."""

import json

import pytest
from exchanges import exchange, refusal

from knouds_harness.suite.generation.json_values import TEXTS, VALUES, as_document, as_inputs, each_sent

NODE = {"id": "a", "type": "t", "position": {"x": 0, "y": 0}, "data": {"kept": "no"}}
PARSED = [name for name in VALUES if name != "nested deeply"]


@pytest.mark.parametrize("name", PARSED)
def test_each_value_is_json(name):
    assert json.loads(as_inputs([name])).keys() == {"inputs"}
    assert isinstance(json.loads(as_inputs([name], in_a_list=True))["inputs"], list)
    document = json.loads(as_document([name], name="Odd", node=NODE))

    assert list(document["nodes"][0]["data"]) == ["harness0"]
    assert document["name"].startswith("Odd ")


def test_texts_are_sent_as_tags_of_a_document():
    document = json.loads(as_document(list(PARSED), name="Odd", node=NODE))

    texts = "".join(json.loads(f'"{text}"') for text in TEXTS.values())
    assert document["tags"] == [texts]


@pytest.mark.parametrize(
    ("answer", "is_refused", "sent"),
    [
        (exchange(200, {}), False, [["a", "b"], ["nested deeply"]]),
        (refusal(400, "BAD"), False, [["a", "b"], ["a"], ["b"], ["nested deeply"]]),
        (exchange(None), False, [["a", "b"], ["a"], ["b"], ["nested deeply"]]),
        (refusal(400, "INVALID_INPUTS"), True, [["a", "b"], ["nested deeply"]]),
    ],
)
def test_values_are_sent_together_until_one_is_refused(answer, is_refused, sent):
    """Then each alone; values that most servers refuse are sent alone in any case."""
    requests = []

    def send(names):
        requests.append(names)
        return answer

    assert len(list(each_sent(send, ["a", "nested deeply", "b"], is_refused=is_refused))) == len(sent)
    assert requests == sent
