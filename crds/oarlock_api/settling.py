"""Recipes in the one form that equal ones have, whatever was left open and whichever version stored them. Pure."""

from oarlock_api.optimizers import resolve_optimizer
from oarlock_api.schedules import resolve_schedule
from oarlock_api.v1alpha1.recipe import Recipe


def settle_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with what follows from the names in it alone filled in, and without what they lack."""
    return recipe.model_copy(
        update={
            "optimizer": resolve_optimizer(recipe.optimizer),
            "schedule": resolve_schedule(recipe.schedule),
        }
    )
