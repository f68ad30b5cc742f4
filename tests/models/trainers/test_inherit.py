"""A student cut out of its teacher: hand-made tensors, and a student of the same size."""

import open_clip
import pytest
import torch

from potstill.config import RequestError
from potstill.models.trainers.inherit import inherit

TEACHER = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 4, "width": 32, "head_width": 8, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 3},
}
VISION, TEXT = TEACHER["vision_cfg"], TEACHER["text_cfg"]
HEADS = {"vision_cfg": {"head_width": 2}, "text_cfg": {"width": 4, "heads": 2}}


def cut(teacher, student):
    """Hand-made tensors whose heads are 2 wide."""
    return inherit(teacher, HEADS, student, HEADS)


def model(cfg):
    torch.manual_seed(len(str(cfg)))
    return open_clip.CLIP(**cfg)


def test_a_student_of_the_same_size_is_the_teacher():
    teacher, student = model(TEACHER), model(TEACHER | {"quick_gelu": False})
    made = inherit(teacher.state_dict(), TEACHER, student.state_dict(), TEACHER)
    assert made.keys() == teacher.state_dict().keys()
    assert all(torch.equal(made[name], x) for name, x in teacher.state_dict().items())
    student.load_state_dict(made)
    pictures, tokens = torch.randn(2, 3, 32, 32), torch.randint(50, (2, 8))
    for ours, theirs in zip(student.eval()(pictures, tokens), teacher.eval()(pictures, tokens), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("theirs", "ours", "from_"),
    [(12, 6, [0, 2, 4, 6, 8, 10]), (12, 5, [0, 2, 4, 6, 8]), (12, 8, list(range(8))), (3, 1, [0])],
)
def test_layers_are_taken_at_even_distances_from_the_front(theirs, ours, from_):
    teacher = {f"visual.resblocks.{n}.ln.bias": torch.tensor([float(n)]) for n in range(theirs)}
    student = {f"visual.resblocks.{n}.ln.bias": torch.zeros(1) for n in range(ours)}
    assert [x.item() for x in cut(teacher, student).values()] == from_


def test_lists_within_lists_are_thinned_one_by_one_and_numbers_with_gaps_keep_their_places():
    teacher = {f"visual.blocks.{n}.{m}.bias": torch.tensor([10.0 * n + m]) for n in range(2) for m in range(4)}
    teacher |= {f"visual.mlp.{n}.bias": torch.tensor([float(n)]) for n in (0, 2)}
    student = {f"visual.blocks.{n}.{m}.bias": torch.zeros(1) for n in range(2) for m in range(2)}
    student |= {f"visual.mlp.{n}.bias": torch.zeros(1) for n in (0, 2)}
    assert [x.item() for x in cut(teacher, student).values()] == [0, 2, 10, 12, 0, 2]


def test_widths_are_cut_from_the_front():
    made = cut({"visual.fc.weight": torch.arange(12.0).view(3, 4)}, {"visual.fc.weight": torch.zeros(2, 3)})
    assert made["visual.fc.weight"].tolist() == [[0, 1, 2], [4, 5, 6]]


def test_queries_keys_and_values_are_cut_each_by_itself():
    teacher = {"attn.in_proj_weight": torch.arange(12.0)[:, None] * 10 + torch.arange(4.0)}
    made = cut(teacher, {"attn.in_proj_weight": torch.zeros(6, 2)})["attn.in_proj_weight"]
    assert made[:, 0].tolist() == [0, 10, 40, 50, 80, 90]  # first head, 2 wide, of q at 0, of k at 4, of v at 8
    assert made[:, 1].tolist() == [1, 11, 41, 51, 81, 91]


def test_a_student_of_half_the_size_has_the_first_heads_of_every_other_layer():
    smaller = {
        "embed_dim": 8,
        "vision_cfg": VISION | {"layers": 2, "width": 16},
        "text_cfg": TEXT | {"width": 8, "heads": 1},
    }
    teacher, student = model(TEACHER).state_dict(), model(smaller)
    made = inherit(teacher, TEACHER, student.state_dict(), smaller)
    student.load_state_dict(made)
    name = "visual.transformer.resblocks.{}.attn.in_proj_weight"
    qkv = teacher[name.format(2)].view(3, 4, 8, 32)
    assert torch.equal(made[name.format(1)], qkv[:, :2, :, :16].reshape(48, 16))
    assert torch.equal(made["visual.proj"], teacher["visual.proj"][:16, :8])
    assert torch.equal(made["logit_scale"], teacher["logit_scale"])
    embedding = student.eval()(torch.randn(1, 3, 32, 32), torch.randint(50, (1, 8)))[0]
    assert embedding.shape == (1, 8) and embedding.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vision_cfg": VISION | {"width": 64}}, "not the front"),
        ({"vision_cfg": VISION | {"layers": 5}}, "5 layers in the student and 4"),
        ({"vision_cfg": VISION | {"image_size": 16}}, "visual.positional_embedding"),
        ({"vision_cfg": VISION | {"patch_size": 8, "image_size": 16}}, "visual.conv1.weight"),
        ({"text_cfg": TEXT | {"vocab_size": 40}}, "token_embedding.weight"),
        ({"text_cfg": TEXT | {"heads": 4}}, "text tower are 4 numbers wide, the teacher's 8"),
        ({"vision_cfg": VISION | {"ls_init_value": 0.1}}, "the teacher, which has none"),
    ],
)
def test_what_cannot_be_inherited_is_said(changes, said):
    other = TEACHER | changes
    with pytest.raises(RequestError, match=said):
        inherit(model(TEACHER).state_dict(), TEACHER, model(other).state_dict(), other)
