"""What goes with a script and what with a model: the cross-field rules of the two ways to say what runs. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from oarlock_api.findings import Finding
from oarlock_api.rule import Rule, Scope, list_given
from oarlock_api.settling import settle_recipe
from oarlock_api.v1alpha1.recipe import Recipe

_NOT_FOR_SCRIPTS = ("epochs", "maxSteps", "batchSize", "microBatchSize")
"""Fields of the recipe that the API server does not fill in: who wrote them meant something by it."""


def _model_without_dataset(spec: Scope) -> str | None:
    return "model, and no dataset" if spec.get("model") is not None and spec.get("dataset") is None else None


def _recipe_beside_script(spec: Scope) -> str | None:
    recipe = spec.get("recipe")
    given = list_given(recipe, _NOT_FOR_SCRIPTS) if isinstance(recipe, Mapping) else []
    return f"script and recipe.{given[0]}" if given and spec.get("script") is not None else None


def _two_images(spec: Scope) -> str | None:
    script, workers = spec.get("script"), spec.get("workers")
    template = workers.get("podTemplate") if isinstance(workers, Mapping) else None
    both = (isinstance(part, Mapping) and part.get("image") is not None for part in (script, template))
    return "both" if all(both) else None


def find_idle_recipe(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for a recipe that changes something beside a script: CEL cannot tell it from one of defaults."""
    spec = manifest.get("spec")
    recipe = spec.get("recipe") if isinstance(spec, Mapping) and spec.get("script") is not None else None
    if not isinstance(recipe, Mapping):
        return
    try:
        changes = settle_recipe(Recipe.from_wire(recipe)) != settle_recipe(Recipe())
    except ValidationError:
        return  # of the wrong shape, which is said anyway
    if changes and not list_given(recipe, _NOT_FOR_SCRIPTS):
        yield Finding(
            path="spec.recipe",
            rule="must be left out with a script, which decides itself how it trains",
            remedy="give the program what it needs as arguments, in script.command",
        )


SCRIPT_RULES = (
    Rule(
        at="spec",
        cel="!has(self.model) || has(self.dataset)",
        broken=_model_without_dataset,
        rule="must have a dataset for a model to be trained on",
        remedy="add dataset: {name: …}",
    ),
    Rule(
        at="spec",
        cel="!has(self.script) || !has(self.recipe) || !("
        + " || ".join(f"has(self.recipe.{name})" for name in _NOT_FOR_SCRIPTS)
        + ")",
        broken=_recipe_beside_script,
        rule="must not have a recipe with a script, which decides itself how it trains",
        remedy="give the program what it needs as arguments, in script.command",
    ),
    Rule(
        at="spec",
        cel="!has(self.script) || !has(self.script.image) || !has(self.workers) || !has(self.workers.podTemplate)"
        " || !has(self.workers.podTemplate.image)",
        broken=_two_images,
        rule="must not have both script.image and workers.podTemplate.image",
        remedy="keep script.image",
    ),
)
