"""l2qmlive: the quality monitor on a real Kafka: its input written bit by bit, what it wrote judged by what its core says of the same.

    said = Said(market, reference)                         the core's signals, outcomes and changes of alerts
    feed = Feed(bootstrap, prefix, market); feed.write(steps)
    for chunk in said.chunks(4): feed.write(chunk); wait_told(monitor, feed, follower, said)
    counts, examples, sizes = judge(bootstrap, prefix, said, source)      lost, doubled, reordered, changed

Compared is every field of every record, its key and its partition, but what the clock makes:
- `produced_time`;
- of an alert `delivery`, `spoken_for_by`, and the groups' own records (`_all`): what is told together is what waits together. They must be
  whole in themselves;
- of the leakage proof which bars are proved (one at a time, and none while the past is folded), and with it `state`: each at most once, and
  its verdict that of the market's rows, of which there are no snapshots: another row, unless it has nothing but nulls;
- unless the input was `paced`, which changes of an alert are told, since what is over within `hold_ms` is not: those that are must be the
  core's, in its order, and the last leave the alert as the core has it. Paced: a chunk has no two changes of one alert, and all of it is told before the next is written.
"""

import collections
import datetime
import time

import confluent_kafka

import l2live
import l2qm

KINDS = ("lost", "doubled", "reordered", "changed")
PROOF = "l2_leakage_proof"
ALL = "_all"
RESTART_ME, NO_BROKER = 75, 69
STATE = 4  # the word of a change that says what it became
# signal: what its P2 asks for, and its entry in the runbook
ENTRIES = {
    "l2_feature_freshness_seconds": ("no_l2", "stale-features"), "l2_feature_nan_rate": ("no_l2", "null-features"),
    "nan_rate_ahead": ("none", "null-features"), "l2_feature_value_oor": ("flag", "values-out-of-range"),
    "l2_kyle_lambda_drift_psi": ("retrain", "feature-drift"), "l2_kyle_lambda_psi_30d": ("retrain", "feature-drift"),
    "l2_ofi_15m_psi_30d": ("retrain", "feature-drift"), "l2_depth_imbalance_l5_psi_30d": ("retrain", "feature-drift"),
    "l2_feed_cadence": ("review", "feed-cadence"), "l2_kyle_lambda_p99": ("none", "lambda-tail"), "l2_latch": ("no_l2", "latch"),
    "l2_spread_regime": ("review", "spread-regime"), "l2_f1_buy_drift": ("retrain", "concept-drift"),
    "l2_delta_f1_buy": ("review", "live-delta"), "l2_feature_freshness_p99": ("none", "gates"), "l2_feature_nan_rate_p99": ("none", "gates"),
    "l2_agreement": ("none", "gates"), "l2_f1_buy": ("none", "gates"), PROOF: ("freeze", "leakage"),
}


class Said:
    """What the core says of a market: signals and outcomes as words by their identity, the changes of each alert in order."""

    def __init__(self, market, reference):
        self.market, self.signals, self.outcomes = market, {}, {}
        self.changes = collections.defaultdict(list)  # (signal, arm, symbol): words, without the state before
        self.by_step = []  # keys of the alerts that change in it
        said = iter(l2qm.probe(market, [l2qm.line_of(market, e) for e in market.events()], reference))
        for step in market.steps:
            self.by_step.append([key for _ in step for words in next(said)[1] if (key := self.take(tuple(words)))])

    def take(self, words):
        if words[0] == "S":
            self.signals[words[1:5]] = words
        elif words[0] == "O":
            self.outcomes[words[1:4]] = words
        else:
            key = (words[2], l2qm.ARMS[int(words[3])], words[1])
            self.changes[key].append(words[:4] + words[5:])
            return key
        return None

    def chunks(self, bars_max):
        """The market's steps in lists of at most so many; no alert changes twice in one. Fewer than a label's horizon and the purge:
        in which order the topics' records come within them matters to nothing."""
        chunk, seen = [], set()
        for step, keys in zip(self.market.steps, self.by_step, strict=True):
            if chunk and (len(chunk) == bars_max or seen & set(keys)):
                yield chunk
                chunk, seen = [], set()
            chunk.append(step)
            seen |= set(keys)
        yield chunk

    def told_by(self, steps_n):
        """How often each alert has changed after so many steps."""
        return collections.Counter(key for keys in self.by_step[:steps_n] for key in keys)


class Feed:
    """Writes a market into its topics."""

    def __init__(self, bootstrap, prefix, market):
        self.prefix, self.market, self.records, self.steps = prefix, market, 0, 0
        self.producer = confluent_kafka.Producer(l2live.client(bootstrap, partitioner="murmur2_random", **{"enable.idempotence": True}))

    def put(self, topic, value, key):
        self.producer.produce(self.prefix + topic, value, key)

    def send(self, events):
        for event in events:
            self.put(l2qm.TOPICS[event["kind"]], l2live.encode(l2qm.STEMS[event["kind"]], l2qm.record(self.market, event)), event["symbol"])
            self.producer.poll(0)
        if self.producer.flush(60) != 0:
            raise RuntimeError("the market was not delivered")
        return len(events)

    def write(self, steps):
        self.records += self.send([event for step in steps for event in step])
        self.steps += len(steps)

    def write_ahead(self):
        """A record of each topic and crypto that is a month ahead of its time, and is not folded. Returns how many."""
        bar = int(time.time() + 30 * l2qm.DAY_S) // self.market.bar_s
        return self.send({(e["kind"], e["symbol"]): e | {"bar": bar, "source": bar - self.market.purge}
                          for step in self.market.steps[:30] for e in step}.values())


class Follower:
    """Counts the alerts as they are committed."""

    def __init__(self, bootstrap, prefix, partitions):
        self.seen = collections.Counter()
        self.consumer = confluent_kafka.Consumer(l2live.client(bootstrap, **{
            "group.id": "follower", "isolation.level": "read_committed", "enable.auto.commit": False}))
        self.consumer.assign([confluent_kafka.TopicPartition(prefix + "l2.alerts", p, 0) for p in range(partitions)])

    def look(self):
        for message in self.consumer.consume(1000, timeout=0.02):
            if not message.error():
                alert = l2live.decode("alert", message.value())
                self.seen[alert["signal"], alert["arm"], alert["symbol"]] += 1

    def close(self):
        self.consumer.close()


def supervise(monitor):
    """What a supervisor does: starts it again when it asks for that, or the broker is away; any other end is a fault."""
    if monitor.process.poll() is None:
        return
    if monitor.process.returncode not in (RESTART_ME, NO_BROKER):
        raise RuntimeError(f"the monitor ended by itself with {monitor.process.returncode}:\n{monitor.tail()}")
    monitor.start()


def wait_told(monitor, feed, follower, said, seconds=90):
    """Until all that was written is folded, and every alert that it changes is told."""
    want, deadline = said.told_by(feed.steps), time.monotonic() + seconds
    while True:
        follower.look()
        if not want - follower.seen and monitor.metric("l2flow_qm_records_total") >= feed.records:
            return
        supervise(monitor)
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {seconds} s {dict(want - follower.seen)} are not told, or not all of {feed.records} records "
                               f"folded:\n{monitor.tail()}")


# ---- judging


def home_of(bootstrap, prefix):
    """key: partition, of the inputs"""
    return {m.key: m.partition for m in l2live.dump(bootstrap, prefix + "l2.bars")}


def place(message, record):
    """What is wrong with where a record lies and what it is of."""
    symbol = record["symbol"]
    if message.key != symbol.encode() or record["exchange"] != l2qm.EXCHANGE:
        return f"{symbol} of {record['exchange']} under the key {message.key}"
    return None


def compare(found, want, what, counts, examples):
    """found: [(identity, words)] as they lie there. want: {identity: words} in order."""
    got = collections.Counter(identity for identity, _ in found)
    faults = {"lost": [i for i in want if i not in got], "doubled": [i for i, n in got.items() if n > 1],
              "changed": [(i, w, want.get(i)) for i, w in found if w != want.get(i)]}
    for kind, of_kind in faults.items():
        counts[kind] += len(of_kind)
        if of_kind:
            examples.append(f"{what}: {len(of_kind)} {kind}: {of_kind[:2]}")


def count_reordered(found, key_of, place_of, counts):
    newest = {}
    for identity, _ in found:
        key, at = key_of(identity), place_of(identity)
        counts["reordered"] += at < newest.get(key, at)
        newest[key] = max(at, newest.get(key, at))


def judge_proofs(proofs, said, counts, examples):
    """Each at most once, and its verdict that of the row that its record carries."""
    rows = {(e["symbol"], e["bar"]): e["row"] for e in said.market.events() if e["kind"] == "f"}
    seen = set()
    for d in proofs:
        bar = l2qm.micros(d["bar_time"]) // (said.market.bar_s * l2qm.US)
        row = rows.get((d["symbol"], bar), {})
        other = any(value is not None for value in row.values())
        whole = {"arm": "none", "value": float(other), "low": None, "high": None, "n": 1, "window_seconds": 0, "warn_below": None,
                 "warn_above": None, "p2_below": None, "p2_above": 0.5, "observed": "p2" if other else "ok", "measurable_from": None,
                 "reference_version": "ref-1" if d["symbol"] in said.market.reference else None}
        wrong = {k: (d[k], v) for k, v in whole.items() if d[k] != v}
        counts["doubled"] += (d["symbol"], bar) in seen
        counts["changed"] += bool(wrong)
        if wrong:
            examples.append(f"proof of {d['symbol']} {d['bar_time']}: {wrong}")
        seen.add((d["symbol"], bar))


def judge_quality(bootstrap, prefix, said, home, counts, examples):
    found, proofs = [], []
    for message in l2live.dump(bootstrap, prefix + "l2.quality"):
        d = l2live.decode("quality_signal", message.value)
        if place(message, d) or message.partition != home[message.key] or d["bar_seconds"] != said.market.bar_s:
            counts["changed"] += 1
            examples.append(f"quality at {message.partition}:{message.offset}: {place(message, d)}")
        if d["signal"] == PROOF:
            proofs.append(d)
            continue
        words = l2qm.signal_words(d)
        found.append((words[1:5], words))
    compare(found, said.signals, "signals", counts, examples)
    count_reordered(found, lambda i: i[:3], lambda i: int(i[3]), counts)
    judge_proofs(proofs, said, counts, examples)
    return proofs, len(found) + len(proofs)


def judge_outcomes(bootstrap, prefix, said, home, counts, examples):
    found, bar = [], datetime.timedelta(seconds=said.market.bar_s)
    for message in l2live.dump(bootstrap, prefix + "l2.outcomes"):
        d = l2live.decode("outcome", message.value)
        if place(message, d) or message.partition != home[message.key] or d["bar_seconds"] != said.market.bar_s or \
                d["entry_time"] != d["bar_time"] + bar:
            counts["changed"] += 1
            examples.append(f"outcome at {message.partition}:{message.offset}: {place(message, d)}")
        words = l2qm.outcome_words(said.market, d)
        found.append((words[1:4], words))
    compare(found, said.outcomes, "outcomes", counts, examples)
    return len(found)


def change_words(d):
    """An alert as the probe tells of its change, without the state before."""
    return tuple(map(l2qm.word, ["T", d["symbol"], d["signal"], l2qm.ARMS.index(d["arm"]), d["state"], l2qm.micros(d["since"]),
                                 l2qm.micros(d["started"]), d["value"], d["threshold"], d["n"]]))


def whole_alert(d, before, source):
    """What an alert must say beside its change."""
    action, runbook = ENTRIES[d["signal"]]
    key = "/".join((d["signal"], d["arm"], l2qm.EXCHANGE))
    who = l2qm.EXCHANGE + f" of {d['group_size']} cryptos" if d["symbol"] == ALL else d["symbol"]
    value = "no value" if d["value"] is None else f"{d['value']:.6g}"
    threshold = "" if d["threshold"] is None else f", threshold {d['threshold']:.6g}"
    summary = f"{who} {d['signal']}: {d['state']} since {d['since']:%Y-%m-%dT%H:%M:%S.%f}Z: "
    return {"key": f"{key}/{d['symbol']}", "version": before["version"] + 1 if before else 1,
            "previous": before["state"] if before else "ok", "action": action if d["state"] == "p2" else "none", "runbook": runbook,
            "source": source, "members": d["members"] if d["symbol"] == ALL else [],
            "group_size": len(d["members"]) if d["symbol"] == ALL else 0,
            "spoken_for_by": f"{key}/{ALL}" if d["delivery"] == "grouped" else None,
            "summary": summary + d["summary"][len(summary):-len(f" ({value}{threshold}, n {d['n']})")] + f" ({value}{threshold}, n {d['n']})"}


def judge_changes(key, got, want, paced, counts, examples):
    """One alert's records against the changes of its state, both in order."""
    left = iter(want)
    strays = [words for words in got if not any(words == one for one in left)]
    again = [words for words in strays if got.count(words) > want.count(words) > 0]
    counts["doubled"] += len(again)
    counts["changed"] += len(strays) - len(again)
    told, now = (words[-1][STATE] if words else "ok" for words in (got, want))
    lost = [words for words in want if words not in got] if paced else [] if told == now else want[-1:]
    counts["lost"] += len(lost)
    if strays or lost:
        examples.append(f"alert {key}: {len(got)} of {len(want)}, strays {strays[:2]}, lost {lost[:2]}")


def judge_alerts(bootstrap, prefix, said, home, proofs, source, paced, counts, examples):
    chains, n = collections.defaultdict(list), 0
    for message in l2live.dump(bootstrap, prefix + "l2.alerts"):
        d = l2live.decode("alert", message.value)
        chain = chains[d["signal"], d["arm"], d["symbol"]]
        whole = whole_alert(d, chain[-1] if chain else None, source)
        wrong = {k: (d[k], v) for k, v in whole.items() if d[k] != v}
        if place(message, d) or message.partition != home.get(message.key, 0) or wrong:
            counts["changed"] += 1
            examples.append(f"alert {d['key']} {d['version']} in {message.partition}: {place(message, d)} {wrong}")
        chain.append(d)
        n += 1
    ends = {(d["symbol"], d["bar_time"] + datetime.timedelta(seconds=said.market.bar_s), d["value"]) for d in proofs}
    for key in sorted(set(chains) | set(said.changes)):
        if key[0] == PROOF and key[2] != ALL:
            strays = [d["version"] for d in chains[key] if (d["symbol"], d["since"], d["value"]) not in ends]
            counts["changed"] += len(strays)
            examples += [f"alert {key}: of no proof: {strays}"] if strays else []
        elif key[2] != ALL:
            judge_changes(key, [change_words(d) for d in chains[key]], said.changes[key], paced, counts, examples)
    return n


def judge(bootstrap, prefix, said, source, paced=True):
    """Counts, examples of what is wrong, sizes."""
    counts, examples, home = collections.Counter(dict.fromkeys(KINDS, 0)), [], home_of(bootstrap, prefix)
    proofs, signals = judge_quality(bootstrap, prefix, said, home, counts, examples)
    outcomes = judge_outcomes(bootstrap, prefix, said, home, counts, examples)
    alerts = judge_alerts(bootstrap, prefix, said, home, proofs, source, paced, counts, examples)
    return counts, examples, {"signals": signals, "outcomes": outcomes, "alerts": alerts}
