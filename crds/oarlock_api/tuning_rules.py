"""Where the trainer cannot search for itself: it tries things out on each rank alone, and undoes them. Pure."""

from oarlock_api.rule import Rule, Scope


def _list_tunables(recipe: Scope) -> list[object]:
    names = recipe.get("tune")
    return names if isinstance(names, list) else []


def _tune_in_shards(recipe: Scope) -> str | None:
    return "tune with fsdp" if _list_tunables(recipe) and recipe.get("parallelism") == "fsdp" else None


def _rows_with_shared_norms(recipe: Scope) -> str | None:
    shares = recipe.get("batchNorm") == "synchronized"
    return "microBatchSize with synchronized" if shares and "microBatchSize" in _list_tunables(recipe) else None


TUNING_RULES: tuple[Rule, ...] = (
    Rule(
        at="spec.recipe",
        cel="!has(self.tune) || !('learningRate' in self.tune || 'microBatchSize' in self.tune)"
        " || !has(self.parallelism) || self.parallelism != 'fsdp'",
        broken=_tune_in_shards,
        rule="must not have tune with fsdp: the search needs the whole model on each process",
        remedy="drop tune, or set parallelism to ddp",
    ),
    Rule(
        at="spec.recipe",
        cel="!has(self.tune) || !('microBatchSize' in self.tune) || !has(self.batchNorm)"
        " || self.batchNorm != 'synchronized'",
        broken=_rows_with_shared_norms,
        rule="must not tune microBatchSize with synchronized batch norms: each process tries alone what fits",
        remedy="give microBatchSize, or set batchNorm to local",
    ),
)
