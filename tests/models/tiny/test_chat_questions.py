import re
from pathlib import Path

import numpy as np
import pytest

from potstill.models.tiny.chat_judges import PROMPT_NAMES, caption_text, garble, judge_turn, read_prompts, slip
from potstill.models.tiny.chat_questions import FORMS, Slots, draw, fill, questions, score
from potstill.models.tiny.chat_reading import caption_objects, is_caption, named_right, read_instruction
from potstill.models.tiny.scenes import COLOURS, CONCEPTS, EMPTY, NUMBERS, PLACES, Scene, plural, sample_scene

PROMPTS = Path(__file__).parents[3] / "pipelines" / "synthesizers" / "prompts"
DOG, CAT, EGG = (CONCEPTS.index(word) for word in ("dog", "cat", "egg"))
SCENE = Scene((EMPTY, CAT, DOG, EMPTY, DOG, EMPTY, EGG, EMPTY, EMPTY), list(COLOURS).index("blue"))


def ask(kind: str, a: str = "dog", b: str = "cat", group: str = "food", colour: str = "blue", place: int = 2) -> str:
    return fill(kind, FORMS[kind].wordings[0], SCENE, Slots(a, b, group, colour, place), many=True).answer


def test_answers_follow_from_the_scene():
    assert ask("count") == "There are two dogs."
    assert ask("count", a="pig") == "There is no pig in the picture."
    assert ask("presence", a="egg") == "Yes, there is one egg."
    assert ask("presence", a="pig") == "No, there is no pig."
    assert ask("where") == "They are at the top right and centre."
    assert ask("at") == "A dog."
    assert ask("at", place=8) == "Nothing is there."
    assert ask("on colour") == "A cat, two dogs and an egg."
    assert ask("on colour", colour="red") == "The background is not red, it is blue."
    assert ask("group") == "An egg."
    assert ask("group", group="tool") == "There is no tool in the picture."
    assert ask("two counts") == "Two dogs and one cat."
    assert ask("compare") == "There are more dogs."
    assert ask("compare", a="egg") == "There are as many eggs as cats."
    assert ask("story", a="pig", b="cow") == "There is no pig and no cow in the picture."
    assert ask("describe") == "The picture shows a cat, two dogs and an egg on a blue background."
    assert ask("total") == "There are four things."


def test_counts_and_places_recomputed_from_the_cells_agree_with_the_answers():
    rng = np.random.default_rng(1)
    for _ in range(100):
        scene = sample_scene(rng)
        count, where = draw(scene, "count", rng), draw(scene, "where", rng)
        cells = [i for i, c in enumerate(scene.cells) if c != EMPTY and CONCEPTS[c] == count.names[0]]
        assert (
            f" {NUMBERS[len(cells)]} {count.names[0] if len(cells) == 1 else plural(count.names[0])}." in count.answer
        )
        cells = [i for i, c in enumerate(scene.cells) if c != EMPTY and CONCEPTS[c] == where.names[0]]
        assert re.findall("|".join(PLACES), where.answer) == [PLACES[i] for i in cells]


def test_scores_count_what_holds():
    assert score(SCENE, ()) == 5
    assert score(SCENE, ("dog", "food", "colour blue")) == 5
    assert score(SCENE, ("dog", "pig")) == 3
    assert score(SCENE, ("pig", "colour red")) == 1


def test_good_and_bad_instructions_have_the_same_texts_but_for_the_picture():
    """A judge that knows only form and number of named things must do no better than the larger share."""
    rng = np.random.default_rng(2)
    prompts = read_prompts(PROMPTS)
    named: dict[int, list[str]] = {1: [], 2: []}
    for _ in range(3000):
        turn = judge_turn("hallucination", sample_scene(rng), prompts, rng)
        question = read_instruction(turn.text.removeprefix(prompts["hallucination"].before))
        if question and question.kind != "presence" and question.grants:
            named[len(question.grants)].append(turn.reply[-1])
    assert 0.44 < named[1].count("5") / len(named[1]) < 0.56
    assert max(named[2].count(digit) for digit in "531") / len(named[2]) < 0.56


@pytest.mark.parametrize("name", PROMPT_NAMES)
def test_judge_turns_hold_the_projects_own_prompt(name):
    body = (PROMPTS / f"oasis_{name}.txt").read_text().split("\n---\n", 1)[1].removesuffix("\n")
    turn = judge_turn(name, SCENE, read_prompts(PROMPTS), np.random.default_rng(0))
    before = re.split(r"\{\w+\}", body)[0]
    assert turn.text.startswith(before)
    assert re.fullmatch("Score: [135]", turn.reply) or name == "extract"
    assert turn.image == (name in ("solvability", "clarity", "hallucination"))


def test_a_prompt_without_a_slot_is_refused(tmp_path):
    for name in PROMPT_NAMES:
        (tmp_path / f"oasis_{name}.txt").write_text("version: 1\n---\nno slot\n")
    with pytest.raises(ValueError, match="has 0 slots"):
        read_prompts(tmp_path)


def test_broken_texts_differ_and_do_not_read_as_instructions():
    rng = np.random.default_rng(3)
    for question in questions(SCENE, rng, 200):
        assert garble(question.text, rng).lower() != question.text.lower()
        assert slip(question.text, rng) != question.text
        assert read_instruction(garble(question.text, rng)) is None


def test_instructions_and_captions_are_read_back():
    rng = np.random.default_rng(4)
    for scene in (sample_scene(rng) for _ in range(50)):
        for question in questions(scene, rng, 5, absent=0.3):
            read = read_instruction(question.text)
            assert read is not None
            assert read.kind == question.kind
            assert read.kind == "presence" or set(read.grants) == set(question.grants)
            assert not is_caption(question.text)
        caption = caption_text(scene, rng)
        assert is_caption(caption)
        assert caption_objects(caption) == scene.counts
        assert named_right(scene, caption) == (len(scene.objects),) * 3
    assert named_right(SCENE, "A cat and a pig on a red background.") == (1, 3, 2)
    assert caption_objects("") == {}
