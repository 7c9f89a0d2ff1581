"""Values that API servers wrote into objects while the schema had them as defaults, whatever the name beside them. Pure.

Such an object may be stored still. What nobody wrote must neither be refused nor taken for somebody's wish, so that a parameter
which the chosen name lacks passes with its former default and is dropped, and an object that can only be such a one is read
without them. Nothing is added here: a default of today's schema that goes has to be thought through again.
"""

from collections.abc import Collection, Mapping

SCHEDULE: Mapping[str, float] = {
    "warmupFraction": 0.05,
    "finalFraction": 0.0,
    "stepPercent": 33.0,
    "gamma": 0.1,
    "power": 1.0,
}
OPTIMIZER: Mapping[str, float | bool] = {"nesterov": False, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


def find_unmeant(given: Mapping[str, object], former: Mapping[str, object], own: Collection[str]) -> set[str]:
    """Return the parameters that nobody wrote, or that mean nothing: they are read as absent.

    Args:
        given: the parameters of the object, as on the wire; None where absent.
        former: what the schema once filled in.
        own: the parameters that the chosen name has.
    """
    unchanged = {name for name, value in former.items() if given.get(name) == value}
    strangers = unchanged - set(own)
    # Nobody writes all of them, with a name that lacks some: an API server has.
    is_stored = strangers and all(given.get(name) is not None for name in former)
    return unchanged if is_stored else strangers
