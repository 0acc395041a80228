"""The message types that are read from bags: their definitions, for bags that lack them, and type stores."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import FieldDesc, Typesdict
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mambaseg_core.events.messages import COLUMNS_TYPE, NESTED_TYPES, PACKET_TYPES

_PACKET: Final = """
std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint64 time_base
string encoding
bool is_bigendian
uint8[] events
"""
_COLUMNS: Final = """
std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint16[] x
uint16[] y
uint32[] t_offset_ns
uint8[] p
"""
_NESTED: Final = """
std_msgs/Header header
uint32 height
uint32 width
Event[] events
"""
_EVENT: Final = """
uint16 x
uint16 y
builtin_interfaces/Time ts
bool polarity
"""
_VISION_CLASS: Final = "uint16 class_id\nstring class_name"
_LABEL_INFO: Final = "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold"


def type_name(name: str) -> str:
    """Return a type's name as ROS 2 has it: `pkg/msg/Name`, also for `pkg/Name` and `pkg::msg::dds_::Name_`."""
    parts = re.sub(r"::dds_::(\w+)_$", r"::\1", name).replace("::", "/").split("/")
    return "/".join([parts[0], "msg", parts[1]] if len(parts) == 2 else parts)


@cache
def known_typestore() -> Typestore:
    """Return the types of ROS 2 Humble, `EVENT_TYPES`, and vision_msgs/LabelInfo; do not add to it."""
    return new_typestore()


def new_typestore(release: Stores = Stores.ROS2_HUMBLE) -> Typestore:
    """Return a type store with the types of a release of ROS, `EVENT_TYPES`, and vision_msgs/LabelInfo."""
    store = get_typestore(release)
    texts = dict.fromkeys(PACKET_TYPES, _PACKET) | {COLUMNS_TYPE: _COLUMNS}
    for name in NESTED_TYPES:
        texts |= {name: _NESTED, name.replace("EventArray", "Event"): _EVENT}
    texts |= {"vision_msgs/msg/VisionClass": _VISION_CLASS, "vision_msgs/msg/LabelInfo": _LABEL_INFO}
    types: Typesdict = {}
    for name, text in texts.items():
        types.update(get_types_from_msg(text, name))
    store.register({name: fields for name, fields in types.items() if name not in store.fielddefs})
    return store


@cache
def _known_ros1() -> Typestore:
    return new_typestore(Stores.ROS1_NOETIC)


def typestore_of(name: str, text: str, form: str, *, ros1: bool) -> Typestore:
    """Return a store with one type of a bag: as the bag defines it, or as it is known here.

    Args:
        name: the type.
        text: its definition in the bag; "" if the bag has none.
        form: "ros2msg", "ros1msg", "ros2idl" or "omgidl".
        ros1: whether its messages are serialized as in ROS 1.

    Raises:
        ValueError: the bag has no definition that can be parsed, and the type is not known here.
    """
    known = _known_ros1() if ros1 else known_typestore()
    reason = "has no definition in the bag"
    if text.strip() and form:
        try:
            return _closed(name, parse_definition(text, form, name), known)
        except Exception as error:  # of rosbags, for whatever a bag may hold
            reason = f"has a definition that cannot be parsed ({(str(error).splitlines() or [''])[0]})"
    if name not in known.fielddefs:
        raise ValueError(f"type {name} {reason}, and is none that is known here")
    return known


def _closed(name: str, parsed: Typesdict, known: Typestore) -> Typestore:
    """Return a store with a type and all that it refers to; what the bag lacks comes from `known`."""
    needed: Typesdict = {}
    waiting = [name]
    while waiting:
        wanted = waiting.pop()
        if wanted not in needed:
            definition = parsed.get(wanted) or known.fielddefs.get(wanted)
            if definition is None:
                raise ValueError(f"the definition lacks {wanted}")
            needed[wanted] = definition
            waiting += [reference for _, field in definition[1] for reference in _references(field)]
    store = get_typestore(Stores.EMPTY)
    store.register(needed)
    return store


def _references(field: FieldDesc) -> list[str]:
    kind, detail = field
    if kind == Nodetype.NAME:
        return [str(detail)]
    if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return _references(detail[0])  # type: ignore[arg-type]
    return []


def parse_definition(text: str, form: str, name: str) -> Typesdict:
    """Return the types that a definition in a bag declares; they may refer to types that it lacks.

    Args:
        text: the definition.
        form: "ros2msg", "ros1msg", "ros2idl" or "omgidl".
        name: the type.

    Raises:
        Exception: rosbags cannot parse it.
    """
    types: Typesdict = {}
    if form in ("ros2msg", "ros1msg"):
        types.update(get_types_from_msg(text, name))
    else:
        for part in re.split(r"^=+\nIDL: .*\n", text, flags=re.MULTILINE):
            if part.strip():
                types.update(get_types_from_idl(part))
    if name not in types:
        raise ValueError(f"the definition declares {', '.join(types) or 'nothing'}")
    return types
