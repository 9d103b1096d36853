"""Whatever is read may come from elsewhere: it is read, or refused with a reason, and nothing else happens.

The whole run, 50,000 inputs and more, is `make fuzz`.
"""

import pytest
from mutations import changed_json, changed_lines, changed_text, damaged
from spoil import spoil
from targets import TARGETS


@pytest.mark.slow
def test_spoilt_inputs_are_read_or_refused():
    told = spoil([target.name for target in TARGETS], inputs=25, seed=7)
    assert {one["name"]: one["bad"] for one in told} == {target.name: {} for target in TARGETS}
    assert [one["name"] for one in told if not one.get("refused")] == ["registration"]  # made anew where it is spoilt


@pytest.mark.parametrize("mutation", [changed_json, changed_lines, changed_text, damaged])
def test_a_mutation_is_the_same_again_for_the_same_seed_and_spoils(mutation):
    import random

    whole = b'{"a": [1, 2], "b": "text"}'
    made = [mutation(whole, random.Random(seed)) for seed in range(40)]
    assert made == [mutation(whole, random.Random(seed)) for seed in range(40)]
    assert sum(each != whole for each in made) > 20
