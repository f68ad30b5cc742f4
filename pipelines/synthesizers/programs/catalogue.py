"""All programs by name."""

from __future__ import annotations

from collections.abc import Mapping

from potstill.pipelines.synthesizers.programs import (
    across_counts,
    across_names,
    attributes,
    counting,
    existence,
    places,
    relations,
)
from potstill.pipelines.synthesizers.programs.across_names import GroupProgram
from potstill.pipelines.synthesizers.programs.question import Program

PROGRAMS: Mapping[str, Program] = {
    "object_present": existence.object_present,
    "object_absent": existence.object_absent,
    "both_present": existence.both_present,
    "attribute_present": existence.attribute_present,
    "attribute_absent": existence.attribute_absent,
    "count_objects": counting.count_objects,
    "count_attribute": counting.count_attribute,
    "more_of": counting.more_of,
    "most_frequent": counting.most_frequent,
    "colour_of": attributes.colour_of,
    "which_attribute": attributes.which_attribute,
    "object_by_attribute": attributes.object_by_attribute,
    "shared_attribute": attributes.shared_attribute,
    "odd_one": attributes.odd_one,
    "relation": relations.relation,
    "relation_object": relations.relation_object,
    "relation_subject": relations.relation_subject,
    "relation_direction": relations.relation_direction,
    "two_relations": relations.two_relations,
    "left_or_right": places.left_or_right,
    "above_or_below": places.above_or_below,
    "half": places.half,
    "leftmost": places.leftmost,
    "rightmost": places.rightmost,
    "topmost": places.topmost,
    "bottommost": places.bottommost,
    "bigger": places.bigger,
    "biggest": places.biggest,
    "smallest": places.smallest,
    "closer": places.closer,
    "closest": places.closest,
    "farthest": places.farthest,
    "depth_order": places.depth_order,
}
"""Name -> program about one picture. The order is part of every draw: new ones go to the end."""

GROUP_PROGRAMS: Mapping[str, GroupProgram] = {
    "which_has": across_names.which_has,
    "which_lacks": across_names.which_lacks,
    "in_every": across_names.in_every,
    "in_common": across_names.in_common,
    "only_in_one": across_names.only_in_one,
    "how_many_pictures": across_names.how_many_pictures,
    "which_attribute_holds": across_names.which_attribute_holds,
    "which_relation_holds": across_names.which_relation_holds,
    "count_together": across_counts.count_together,
    "most_of": across_counts.most_of,
    "how_many_more": across_counts.how_many_more,
    "as_many": across_counts.as_many,
    "most_kinds": across_counts.most_kinds,
}
"""Name -> program about several pictures; as above."""
