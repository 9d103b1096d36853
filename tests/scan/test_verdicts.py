"""Verdicts of a plan's fields: counted as they come, and counted once where a field is taken again."""

from parfocal.scan.verdicts import Verdicts


def test_a_field_has_its_last_verdict_and_is_counted_once():
    verdicts = Verdicts(5)
    verdicts[3], verdicts[0], verdicts[1] = "unsure", "focused", "failed"
    assert (len(verdicts), 3 in verdicts, 2 in verdicts) == (3, True, False)
    assert verdicts.count("unsure", "failed") == 2
    verdicts[3] = "focused"
    assert (len(verdicts), verdicts.count("unsure", "failed"), verdicts.count("focused")) == (3, 1, 2)
    assert verdicts.fields("focused", "unsure") == {0, 3}
