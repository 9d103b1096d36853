"""What a file of ours tells about itself, and what a damaged one does."""

import pytest

from parfocal.slide.readers.own import FORMAT, own_properties


def test_a_summary_gives_openslides_properties_beside_its_own():
    told = {"format": FORMAT, "magnification": 40, "pixel_size_um": 0.25, "slide": "s"}
    properties = own_properties(told)
    assert properties["openslide.objective-power"] == "40"
    assert properties["openslide.mpp-x"] == properties["openslide.mpp-y"] == "0.25"
    assert properties["parfocal.slide"] == "s"


@pytest.mark.parametrize("told", [None, [], "no JSON", "[" * 100_000, '{"format": "another"}', '{"format": 1e999}'])
def test_what_is_not_a_summary_of_ours_tells_nothing(told):
    assert own_properties(told) == {}


@pytest.mark.parametrize("size", [None, "0.25", [0.25], -1, 0, float("nan"), float("inf"), 10**400])
def test_a_size_that_is_none_is_not_told(size):
    told = own_properties({"format": FORMAT, "pixel_size_um": size, "magnification": size})
    assert not [name for name in told if name.startswith("openslide.")]
