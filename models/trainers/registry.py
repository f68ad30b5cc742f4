"""Every kind of trainer that a recipe may name."""

from potstill.models.trainers.classifier import ClassifierRecipe
from potstill.models.trainers.clip import ClipRecipe
from potstill.models.trainers.projector import ProjectorRecipe
from potstill.models.trainers.recipe import Recipe
from potstill.models.trainers.vlm import VlmRecipe

KINDS = (ClassifierRecipe, ClipRecipe, ProjectorRecipe, VlmRecipe)
RECIPES: dict[str, type[Recipe]] = {kind.model_fields["kind"].default: kind for kind in KINDS}
"""Recipe classes by the `kind` that a file names."""
