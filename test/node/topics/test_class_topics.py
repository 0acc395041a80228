from __future__ import annotations

import numpy as np
import pytest

from mambaseg_core.labels import DSEC_11, DSEC_19, LABEL_SETS, LabelSet
from mambaseg_ros.topics.class_topics import class_tables


def classes_of(text: str, labels: LabelSet) -> dict[str, set[str]]:
    """Names of the classes that each table makes 255; all other ids are 0."""
    found = {}
    for topic, table in class_tables(text, labels).items():
        assert (table.dtype, table.shape, set(np.unique(table))) == (np.uint8, (256,), {0, 255})
        assert not table[len(labels.classes) :].any()
        found[topic] = {labels.classes[number] for number in np.flatnonzero(table)}
    return found


def test_classes_are_chosen_and_merged() -> None:
    assert classes_of("", DSEC_11) == classes_of("  ", DSEC_11) == {}
    assert classes_of("road", DSEC_11) == {"road": {"road"}}
    assert classes_of(" drivable = road + sidewalk,people=person+rider ,car", DSEC_19) == {
        "drivable": {"road", "sidewalk"},
        "people": {"person", "rider"},
        "car": {"car"},
    }
    assert classes_of("traffic sign, signs=traffic_light+Traffic  Sign", DSEC_19) == {
        "traffic_sign": {"traffic sign"},
        "signs": {"traffic light", "traffic sign"},
    }


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_every_class_can_be_a_topic(labels: LabelSet) -> None:
    found = classes_of(",".join(labels.classes), labels)
    assert list(found.values()) == [{name} for name in labels.classes]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rode", r"a class 'rode'; expected classes of dsec_11, background, building, .*; nearest is 'road'"),
        ("trafic_sign", r"a class 'trafic_sign'; .*; nearest is 'traffic_sign'"),
        ("people=person+rider", r"a class 'rider'; expected classes of dsec_11"),
        ("5", r"a class '5'"),
        ("road,", r"a class ''"),
        ("road+car+", r"a class ''"),
        ("drivable=", r"a class ''"),
        ("a=b=road", r"a class 'b=road'"),
        ("=road", r"a topic ''; expected letters, digits"),
        ("road+car", r"a topic 'road\+car'.*such as drivable=road\+sidewalk"),
        ("2nd=road", r"a topic '2nd'"),
        ("a__b=road", r"a topic 'a__b'"),
        ("a/b=road", r"a topic 'a/b'"),
        ("weg_=road", r"a topic 'weg_'"),
        ("straße=road", r"a topic 'straße'"),
        ("~=road", r"a topic '~'"),
        ("road,road", r"a topic 'road' twice"),
        ("road,road=car", r"a topic 'road' twice"),
    ],
)
def test_what_cannot_be_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^parameter 'publish_classes' names {words}") as error:
        class_tables(text, DSEC_11)
    assert "\n" not in str(error.value)
