"""Random scene graphs, as JSON trees, and an independent judge of what is asked about them.

The judge knows nothing of the programs: it reads the words of a question and looks the answer up in the tree.
"""

import itertools
import re

from hypothesis import strategies as st

NAMES = ("dog", "cat", "chair", "table", "lamp", "trees", "box")
SINGULAR = {"dogs": "dog", "cats": "cat", "chairs": "chair", "tables": "table", "lamps": "lamp", "boxes": "box"}
RIVALS = ({"red", "blue", "green", "black"}, {"large", "small"}, {"open", "closed"})
ALL_COLOURS = {"black", "blue", "brown", "green", "orange", "pink", "purple", "red", "white", "yellow"}
PREDICATES = ("on", "under", "near", "holding", "behind")

side = st.integers(0, 90)
things = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES), "attributes": st.lists(st.sampled_from(sorted(set().union(*RIVALS))), max_size=3)},
    optional={
        "bbox": st.tuples(side, side, st.integers(1, 60), st.integers(1, 60)).map(
            lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        ),
        "depth": st.integers(0, 12).map(float),
    },
)


@st.composite
def trees(draw):
    """A scene graph in our own format."""
    objects = draw(st.lists(things, max_size=7))
    tree = {"objects": objects}
    if objects:
        place = st.integers(0, len(objects) - 1)
        parts = {"subject": place, "predicate": st.sampled_from(PREDICATES), "object": place}
        tree["relations"] = draw(st.lists(st.fixed_dictionaries(parts), max_size=8))
    if draw(st.booleans()):
        tree["width"] = 150
    return tree


class Judge:
    """Says whether ``answer`` is right for a question of ``program``, asked with the words ``text``."""

    def __init__(self, tree):
        self.objects = tree["objects"]
        self.relations = {(each["subject"], each["predicate"], each["object"]) for each in tree.get("relations", ())}
        self.width = tree.get("width")

    def meant(self, words):
        """The objects that words such as ``red dog`` may mean."""
        *attributes, name = words.split()
        return [
            index
            for index, each in enumerate(self.objects)
            if each["name"] == name and set(attributes) <= set(each["attributes"])
        ]

    def one(self, words):
        found = self.meant(words)
        assert len(found) == 1, f"{words!r} means {len(found)} objects"
        return found[0]

    def has(self, index, word):
        return word in self.objects[index]["attributes"]

    def lacks(self, index, word):
        """Surely not: it has something that rules the word out."""
        own = set(self.objects[index]["attributes"])
        family = next((each for each in RIVALS if word in each), set()) | (
            ALL_COLOURS if word in ALL_COLOURS else set()
        )
        return word not in own and bool(own & family)

    def box(self, index):
        return self.objects[index]["bbox"]

    def right(self, program, text, answer):
        return getattr(self, program)(text, answer)

    def _there(self, text, answer):
        words = re.fullmatch(r"(?:Is there an?|Are there any) (.+) in the picture\?", text)[1]
        return answer == ("yes" if self.meant(words) else "no")

    object_present = object_absent = attribute_present = _there

    def attribute_absent(self, text, answer):
        words = re.fullmatch(r"Is there an? (.+) in the picture\?", text)[1]
        *_, name = words.split()
        sure = all(self.lacks(index, words.split()[0]) for index in self.meant(name))
        return sure and self._there(text, answer)

    def both_present(self, text, answer):
        both = re.fullmatch(r"Can both (.+) and (.+) be seen in the picture\?", text).groups()
        return answer == ("yes" if all(self.meant(words) for words in both) else "no")

    def _count(self, words):
        *attributes, name = words.split()
        return len(self.meant(" ".join([*attributes, SINGULAR[name]])))

    def count_objects(self, text, answer):
        return int(answer) == self._count(re.fullmatch(r"How many (.+) are in the picture\?", text)[1])

    def count_attribute(self, text, answer):
        word, names = re.fullmatch(r"How many (.+) are in the picture\?", text)[1].split()
        sure = all(self.has(index, word) or self.lacks(index, word) for index in self.meant(SINGULAR[names]))
        return sure and self.count_objects(text, answer)

    def more_of(self, text, answer):
        a, b = re.fullmatch(r"Are there more (.+) or more (.+) in the picture\?", text).groups()
        best = max((a, b), key=self._count)
        return self._count(a) != self._count(b) and answer == f"more {best}"

    def most_frequent(self, text, answer):
        counts = {name: len(self.meant(name)) for name in {each["name"] for each in self.objects}}
        best = SINGULAR[answer]
        return all(count < counts[best] for name, count in counts.items() if name != best)

    def colour_of(self, text, answer):
        words = re.fullmatch(r"Which colour can be seen on the (.+)\?", text)[1]
        return set(self.objects[self.one(words)]["attributes"]) & ALL_COLOURS == {answer}

    def which_attribute(self, text, answer):
        words, *both = re.fullmatch(r"Which word describes the (.+): (.+) or (.+)\?", text).groups()
        index = self.one(words)
        (other,) = set(both) - {answer}
        return self.has(index, answer) and self.lacks(index, other)

    @staticmethod
    def _list(text):
        return re.findall(r"the ([a-z ]+?)(?:, | or |\?)", text)

    def object_by_attribute(self, text, answer):
        word = re.match(r"Which of these can be called (.+?):", text)[1]
        names = self._list(text[text.index(":") :])
        return answer in names and all(
            self.has(self.one(name), word) if name == answer else self.lacks(self.one(name), word) for name in names
        )

    def shared_attribute(self, text, answer):
        a, b, *both = re.fullmatch(r"Which word describes both the (.+) and the (.+): (.+) or (.+)\?", text).groups()
        a, b = self.one(a), self.one(b)
        (other,) = set(both) - {answer}
        return self.has(a, answer) and self.has(b, answer) and (self.lacks(a, other) or self.lacks(b, other))

    def odd_one(self, text, answer):
        word = re.match(r"All but one of these can be called (.+?)\. Which one cannot: ", text)[1]
        names = self._list(text[text.index(":") :])
        return len(names) > 2 and all(
            self.lacks(self.one(name), word) if name == answer else self.has(self.one(name), word) for name in names
        )

    def relation(self, text, answer):
        a, b = re.search(r'"the (.+) ___ the (.+)"', text).groups()
        return [w for s, w, o in self.relations if (s, o) == (self.one(a), self.one(b))] == [answer]

    def relation_object(self, text, answer):
        words, predicate = re.search(rf'"the (.+) ({"|".join(PREDICATES)}) the ___"', text).groups()
        ends = [o for s, w, o in self.relations if (s, w) == (self.one(words), predicate)]
        return ends == [self.one(answer)]

    def relation_subject(self, text, answer):
        predicate, words = re.search(rf'"the ___ ({"|".join(PREDICATES)}) the (.+)"', text).groups()
        starts = [s for s, w, o in self.relations if (w, o) == (predicate, self.one(words))]
        return starts == [self.one(answer)]

    def relation_direction(self, text, answer):
        a, predicate, b = re.fullmatch(rf"the (.+) ({'|'.join(PREDICATES)}) the (.+)", answer).groups()
        a, b = self.one(a), self.one(b)
        return predicate != "near" and (a, predicate, b) in self.relations and (b, predicate, a) not in self.relations

    def two_relations(self, text, answer):
        words = "|".join(PREDICATES)
        pattern = rf'"the (.+) ({words}) the (.+), and the (.+) ({words}) the ___"'
        a, first, b, again, second = re.search(pattern, text).groups()
        ends = [o for s, w, o in self.relations if (s, w) == (self.one(b), second)]
        return b == again and (self.one(a), first, self.one(b)) in self.relations and ends == [self.one(answer)]

    def _sides(self, text, answer, axis, before):
        a, b = re.match(r"Where can the (.+) be seen, \w+ or \w+ (?:of )?the (.+)\?", text).groups()
        a, b = self.box(self.one(a)), self.box(self.one(b))
        first, second = (a, b) if answer == before else (b, a)
        return first[axis + 2] <= second[axis]

    def left_or_right(self, text, answer):
        return self._sides(text, answer, 0, "left")

    def above_or_below(self, text, answer):
        return self._sides(text, answer, 1, "above")

    def half(self, text, answer):
        left, _, right, _ = self.box(self.one(re.search(r"can the (.+) be seen", text)[1]))
        return right <= self.width / 2 if answer == "left" else left >= self.width / 2

    def _best(self, answer, number, largest, ratio=1.0):
        index = self.one(answer)
        values = [number(each) for each in self.objects]
        others = values[:index] + values[index + 1 :]
        assert None not in values
        if largest:
            return bool(others) and all(values[index] > ratio * other for other in others)
        return bool(others) and all(values[index] * ratio < other for other in others)

    def _extreme(self, answer, edges, largest):
        return all(self._best(answer, lambda each, edge=edge: each["bbox"][edge], largest) for edge in edges)

    def leftmost(self, text, answer):
        return self._extreme(answer, (0, 2), False)

    def rightmost(self, text, answer):
        return self._extreme(answer, (0, 2), True)

    def topmost(self, text, answer):
        return self._extreme(answer, (1, 3), False)

    def bottommost(self, text, answer):
        return self._extreme(answer, (1, 3), True)

    @staticmethod
    def area(each):
        left, top, right, bottom = each["bbox"]
        return (right - left) * (bottom - top)

    def biggest(self, text, answer):
        return self._best(answer, self.area, True, 1.5)

    def smallest(self, text, answer):
        return self._best(answer, self.area, False, 1.5)

    def closest(self, text, answer):
        return self._best(answer, lambda each: each.get("depth"), False, 1.1)

    def farthest(self, text, answer):
        return self._best(answer, lambda each: each.get("depth"), True, 1.1)

    def bigger(self, text, answer):
        (other,) = set(self._list(text[text.index(",") :])) - {answer}
        return self.area(self.objects[self.one(answer)]) > 1.5 * self.area(self.objects[self.one(other)])

    def closer(self, text, answer):
        (other,) = set(self._list(text[text.index(",") :])) - {answer}
        return self.objects[self.one(answer)]["depth"] * 1.1 < self.objects[self.one(other)]["depth"]

    def depth_order(self, text, answer):
        names = answer.split(", ")
        depths = [self.objects[self.one(name)]["depth"] for name in names]
        asked = re.findall(r"the ([a-z ]+?)(?:,|\.)", text)
        return sorted(asked) == sorted(names) and all(a * 1.1 < b for a, b in itertools.pairwise(depths))
