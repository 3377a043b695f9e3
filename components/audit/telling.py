"""A candidate's story in words, for people who were not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.report.words import SHARES, architecture, duration, moment, number, percent, plain, value

_STRATEGY_IS = "the strategy {kind}{options}"
_FIGURES = 5


def tell(story: Mapping[str, Any]) -> str:
    """Return the `story` of `components.audit.story` as paragraphs with headings, a sentence a line."""
    parts = [
        (_title(story), _what(story)),
        ("How it came about", _origin(story)),
        ("How it was measured", _measured(story)),
        ("What it scored", _scored(story)),
        ("Why it was, or was not, chosen", _verdict(story)),
        ("What followed", _followed(story)),
        ("What it rests on", _basis(story)),
        ("Where this is written", _entries(story)),
    ]
    texts = [(heading, list(lines)) for heading, lines in parts]
    return "\n\n".join("\n".join([heading, *(f"  {line}" for line in lines)]) for heading, lines in texts if lines)


def _title(story: Mapping[str, Any]) -> str:
    identity = story["candidate"]["architecture_id"]
    return f"Trial {story['candidate']['trial']} of run {story['run']}" + (
        f", architecture {identity}" if identity else ""
    )


def _what(story: Mapping[str, Any]) -> Iterator[str]:
    yield f"{architecture(story['candidate']['decisions'])}."


def _origin(story: Mapping[str, Any]) -> Iterator[str]:
    proposal, life = story["life"]["proposal"], story["life"]
    strategy = _STRATEGY_IS.format(kind=story["proposed_by"]["kind"], options=_options(story["proposed_by"]["options"]))
    if proposal:
        batch = f", one of {proposal['together']} at a time" if proposal["together"] > 1 else ""
        yield f"Proposed on {moment(proposal['time'])} by {strategy}{batch}, seed {story['seed']}."
        if proposal["why"]:
            yield (
                "Its reason: " + ", ".join(f"{name} {_short(reason)}" for name, reason in proposal["why"].items()) + "."
            )
    yield f"It was to be trained with {percent(life['fidelity'], 0)} of the full effort."
    for parent in story["parents"]:
        whence = f", brought along from {parent['origin']}" if parent["origin"] else ""
        same = parent["architecture_id"] and parent["architecture_id"] == story["candidate"]["architecture_id"]
        how = "It goes on where" if same else "It comes from"
        rest = " ended" if same else ""
        yield f"{how} trial {parent['trial']}{rest} ({parent['status']} at {percent(parent['fidelity'], 0)}){whence}."
    if not story["parents"]:
        yield "It has no parents."


def _measured(story: Mapping[str, Any]) -> Iterator[str]:
    life, outcome = story["life"], story["life"]["outcome"]
    for each in life["attempts"]:
        if each["how"] == "fault":
            took = duration(each["cost_seconds"])
            yield f"An attempt ended after {took} by a fault of the machinery: {each['reason']}."
        else:
            yield (
                f"An attempt ended because its process did; another took over on {moment(each['time'])} "
                f"(at least {duration(each['cost_seconds'])} were spent)."
            )
    if life["reports"]:
        first, last = life["reports"][0]["step"], life["reports"][-1]["step"]
        steps = f"step {first}" if first == last else f"steps {first} to {last}"
        yield f"The estimator {story['estimator']['kind']} reported on it at {steps}."
    if life["stopped"]:
        kind = story["stopper"]["kind"] if story["stopper"] else "stopper"
        yield f"The {kind} stopper ended it at step {life['stopped']['step']} (entry {life['stopped']['entry']})."
    if outcome is None:
        yield "It has no end on record: it is still running, or its process was killed."
        return
    took = duration(outcome["cost_seconds"])
    yield f"It ended {outcome['status']} on {moment(outcome['time'])} and took {took} in all."
    if outcome.get("reason"):
        yield f"The reason: {outcome['reason']}."


def _scored(story: Mapping[str, Any]) -> Iterator[str]:
    found = story["standing"]
    for each in found["objectives"]:
        better = "more" if each["goal"] == "max" else "less"
        limit = "" if each["limit"] is None else f", limit {value(each['metric'], each['limit'])}"
        yield f"{plain(each['metric'])}: {value(each['metric'], each['value'])} ({better} is better{limit})."
    if found["rank"] is not None:
        yield f"Rank {found['rank']} of the {found['of']} that came out at this effort."
        yield "It is on the Pareto front of these." if found["front"] else "It is not on the Pareto front of these."


def _verdict(story: Mapping[str, Any]) -> Iterator[str]:
    found, against = story["standing"], story["standing"]["against"]
    match found["verdict"]:
        case "chosen":
            why = story["choice"] and story["choice"]["text"]
            yield f"Chosen: {why or 'the best by the objectives of those that keep all limits'}."
            if against:
                ahead = _margins(against["better_by"], "ahead", "behind")
                yield f"Next was trial {against['trial']}: {'breaks a limit' if against['breaks_limit'] else ahead}."
        case "limit":
            yield from (_broken(each) for each in found["objectives"] if each["beyond_limit"])
        case "beaten":
            margins = _margins(against["better_by"], "better", "worse")
            yield f"Not chosen: trial {against['trial']} was. Against that one it is {margins}."
            if story["choice"]:
                yield f"That one is {story['choice']['text']}."
        case "fidelity":
            what = "which goes on where it ended" if story["led_to_chosen"] else "another architecture"
            yield f"Not chosen itself: the choice was among those with {percent(against['fidelity'], 0)} of the effort."
            yield f"It fell on trial {against['trial']}, {what}."
        case "undecided":
            yield "Nothing has been chosen: the search has no end on record."
        case _:
            yield "Not chosen: it has no figures to be compared by."
    if found["continued_by"]:
        yield f"It was continued by trial {', '.join(map(str, found['continued_by']))}."


def _broken(each: Mapping[str, Any]) -> str:
    metric, limit, beyond = each["metric"], each["limit"], each["beyond_limit"]
    share = f", {percent(beyond / abs(limit), 1)} of it" if limit else ""
    return f"Not chosen: {plain(metric)} breaks the limit of {value(metric, limit)} by {_gap(metric, beyond)}{share}."


def _followed(story: Mapping[str, Any]) -> Iterator[str]:
    followed = story["followed"]
    if followed is None:
        return
    yield from _tried(followed)
    for each in followed["decisions"]:
        yield f"Entry {each['entry']}, {each['kind']} on {moment(each['time'])}: {_promoted(each)}."
    for each in followed["failures"]:
        yield f"Entry {each['entry']}, {each['kind']}: {each.get('message', each.get('signal'))}."
    now = followed["champion_now"]
    if followed["is_champion"]:
        yield "It is the champion now."
    elif now and followed["deploy"]:
        yield f"The champion now is {now['digest'][:16]}, of run {now['run']}."


def _tried(followed: Mapping[str, Any]) -> Iterator[str]:
    """Yield what retraining, audit and gates found, as far as they were done."""
    if retrain := followed["retrain"]:
        mean, baseline = percent(retrain["test_accuracy"]["mean"]), retrain["baseline"]
        seeds = ", ".join(f"{each['seed']} ({percent(each['test']['accuracy'])})" for each in retrain["seeds"])
        yield f"Retrained from scratch with the seeds, and their test accuracy: {seeds}; mean {mean}."
        yield f"The best on validation, {retrain['model']}, was to be deployed."
        yield f"The baseline, {baseline['name']}, has {percent(baseline['test_accuracy'])} on the same rows."
    if fairness := followed["fairness"]:
        yield f"Fairness audit: {fairness['verdict']}, by {plain(fairness['metric'])}."
        for name, each in fairness["attributes"].items():
            yield f"  {name}: {each['verdict']}, {each['reason']}."
    if deploy := followed["deploy"]:
        for gate in deploy["gates"]:
            yield f"Gate {gate['gate']}: {'passed' if gate['passed'] else 'FAILED'}; {gate['text']}."
        yield f"Decision: {deploy['decision']}; {deploy['reason']}."


def _promoted(each: Mapping[str, Any]) -> str:
    told = {name: text for name, text in each.items() if name not in ("entry", "hash", "time", "kind")}
    if each["kind"] == "promotion":
        over = f"over {each['previous'][:16]}" if each.get("previous") else "the first of its name"
        return f"bundle {each['digest'][:16]}, {over}"
    if each["kind"] == "rollback":
        return f"bundle {each['digest'][:16]} withdrawn for {each['to'][:16]} by {each['by']}: {each['reason']}"
    if each["kind"] == "waiver":
        return f"gate {each['gate']} waived by {each['by']}: {each['reason']}"
    return ", ".join(f"{plain(name)} {text}" for name, text in told.items())


def _basis(story: Mapping[str, Any]) -> Iterator[str]:
    if data := story["data"]:
        rows = ", ".join(f"{number(count)} {split}" for split, count in data["rows"].items())
        source = ", ".join(f"{name} {text}" for name, text in data["from"].items() if text is not None)
        yield f"Data: {source}. Its digest is {data['source']}."
        yield f"Prepared data {data['digest']}: rows {rows}. The search saw train and validation only."
    if code := story["code"]:
        known = code["environment"]
        digest = known.get("code", "not recorded")
        yield f"Code: evernas {known.get('evernas')}, digest {digest}, Python {known.get('python')}."
        if known.get("image"):
            yield f"Image: {known['image']}."
        yield f"Machine: {known.get('platform')}, {known.get('cpus')} CPUs."
        rest = {"evernas", "code", "python", "image", "platform", "cpus", "machine"}
        yield "Versions: " + ", ".join(f"{name} {text}" for name, text in known.items() if name not in rest) + "."


def _entries(story: Mapping[str, Any]) -> Iterator[str]:
    life = story["life"]
    named = [("proposal", life["proposal"]), *(("attempt", each) for each in life["attempts"])]
    named += [("report", each) for each in life["reports"]]
    named += [("outcome", life["outcome"]), ("choice", story["choice"])]
    named += [("data", story["data"]), ("environment", story["code"])]
    if followed := story["followed"]:
        named += [(name, followed[name]) for name in ("retrain", "fairness", "deploy")]
        named += [(each["kind"], each) for each in followed["decisions"]]
    for what, each in sorted(((w, e) for w, e in named if e), key=lambda pair: pair[1]["entry"]):
        yield f"{each['entry']:>6}  {each['hash']}  {what}"


def _margins(better_by: Mapping[str, float], ahead: str, behind: str) -> str:
    said = [
        f"{_gap(metric, abs(by))} {ahead if by > 0 else behind} in {plain(metric)}"
        for metric, by in better_by.items()
        if by
    ]
    return ", ".join(said) or "equal in every objective, and the earlier one counts"


def _gap(metric: str, gap: float) -> str:
    return f"{100 * gap:.2f} points" if metric in SHARES else value(metric, gap)


def _options(options: Mapping[str, Any]) -> str:
    return f" ({', '.join(f'{name} {_short(text)}' for name, text in options.items())})" if options else ""


def _short(text: Any) -> str:
    return f"{text:.{_FIGURES}g}" if isinstance(text, float) else str(text)
