"""How many governance decisions one core takes in a second, with a registry of 10,000 grants in force.

The requests are drawn so that every outcome occurs: granted by an exact id and by a prefix, denied by name, by user and
by algorithm, defaulted. The registry is loaded before the clock starts.
"""

from __future__ import annotations

import itertools
import json
import random
import time

from benchmarks.result import Result, percentile
from maap_stac_orchestration.governance.decide import ExistingCollections, decide
from maap_stac_orchestration.governance.decision import DecisionCode, Request
from maap_stac_orchestration.governance.registry import load_registry

GRANTS = 10_000
ROUNDS = 7
_PER_ROUND = 50_000
_REQUESTS = 20_000


def measure() -> Result:
    """Decisions per second; the median of the rounds."""
    registry = load_registry(json.dumps(_registry()), "benchmark.json", None)
    chance = random.Random(7)
    requests = [_request(chance) for _ in range(_REQUESTS)]
    existing = ExistingCollections.of([f"exact-{number}" for number in range(GRANTS // 2)])
    seen = {decide(request, registry, existing).code for request in requests}
    expected = {
        DecisionCode.GRANTED,
        DecisionCode.DEFAULT_ASSIGNED,
        DecisionCode.USER_NOT_AUTHORIZED,
        DecisionCode.ALGORITHM_NOT_APPROVED,
        DecisionCode.INVALID_NAME,
        DecisionCode.COLLECTION_NOT_FOUND,
    }
    assert expected <= seen, f"the requests never meet {expected - seen}"
    rounds = [_round(requests, registry, existing) for _ in range(ROUNDS)]
    return Result(
        benchmark="decisions_per_second",
        value=percentile(rounds, 0.5),
        unit="decisions/s",
        must=50_000,
        aim=100_000,
        baseline="the requirement of 50,000 decisions a second on one core, more is better",
        rounds=rounds,
    )


def _round(requests: list[Request], registry: object, existing: ExistingCollections) -> float:
    several = list(itertools.islice(itertools.cycle(requests), _PER_ROUND))
    started = time.perf_counter()
    for request in several:
        decide(request, registry, existing)  # type: ignore[arg-type]
    return _PER_ROUND / (time.perf_counter() - started)


def _registry() -> dict[str, object]:
    grants: list[dict[str, object]] = []
    for number in range(GRANTS):
        kind = number % 4
        if kind == 0:
            grants.append({"collection": f"exact-{number}", "users": [f"user{number}"]})
        elif kind == 1:
            grants.append({"collection": f"prefix-{number}-*", "users": [f"user{number}"], "create": True})
        elif kind == 2:
            grants.append(
                {"collection": f"approved-{number}-*", "users": [f"user{number}"], "algorithms": ["flood@v1.*"]}
            )
        else:
            grants.append({"collection": f"missing-{number}", "users": [f"user{number}", f"user{number + 1}"]})
    return {"version": 1, "grants": grants}


def _request(chance: random.Random) -> Request:
    number = chance.randrange(GRANTS)
    collection = chance.choice(
        (
            f"exact-{number - number % 4}",
            f"prefix-{number - number % 4 + 1}-{chance.randrange(100)}",
            f"approved-{number - number % 4 + 2}-2025",
            f"missing-{number - number % 4 + 3}",
            "Not A Name",
            None,
        )
    )
    user = f"user{number - number % 4 + chance.randrange(4)}"
    return Request(
        username=user,
        algorithm=chance.choice(("flood", "fire")),
        version="v1.2",
        tag="demo",
        collection=collection,
        default_collection=f"{user}__flood__v1.2__demo",
        metadata_username=user,
    )
