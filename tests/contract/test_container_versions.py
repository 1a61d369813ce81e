"""Files of another schema version: feature-producer --offline gives the same files, to the byte, as from our own version.

Seen to fail on: the writer's bytes handed on as ours, a record's end taken from our bytes instead of the writer's.
"""
import json
import pathlib
import sys
import tempfile
import unittest

import fastavro

import l2_streams
import l2live

SCHEMA = json.loads((l2live.SCHEMAS / "l2_snapshot.avsc").read_text())


def other_version():
    """Fields moved, one more, a level with an order count."""
    schema = json.loads(json.dumps(SCHEMA))
    fields = {f["name"]: f for f in schema["fields"]}
    fields["bids"]["type"]["items"]["fields"].insert(0, {"name": "orders", "type": "int"})
    order = ["sequence", "symbol", "flow", "exchange", "bids", "asks", "epoch", "received_time", "event_time"]
    return dict(schema, fields=[{"name": "host", "type": "string"}] + [fields[name] for name in order])


def as_other(record):
    levels = {side: [dict(level, orders=i) for i, level in enumerate(record[side])] for side in ("bids", "asks")}
    return dict(record, host="h", **levels)


class Versions(unittest.TestCase):
    def test_offline(self):
        rows = [r for seed in range(3) for r in l2_streams.generate(seed).records]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for who in ("ours", "theirs"):
                (folder / who).mkdir()
            l2_streams.write_container(folder / "ours" / "in.avro", rows)
            parsed = fastavro.parse_schema(other_version(), named_schemas={})
            for codec in ("null", "deflate"):
                with open(folder / "theirs" / "in.avro", "wb") as file:
                    fastavro.writer(file, parsed, [as_other(r) for r in rows], codec=codec, sync_interval=4000)
                for who in ("ours", "theirs"):
                    bars, _, _ = l2live.offline(folder / who / "in.avro", folder / who)
                    self.assertGreater(len(bars), 10)
                for out in ("l2_bars.avro", "l2_features.avro"):
                    self.assertEqual((folder / "ours" / out).read_bytes(), (folder / "theirs" / out).read_bytes(), (codec, out))

    def test_not_readable(self):
        with tempfile.TemporaryDirectory() as name:
            path = pathlib.Path(name) / "in.avro"
            schema = json.loads(json.dumps(SCHEMA))
            schema["fields"] = [f for f in schema["fields"] if f["name"] != "epoch"]  # ours has no default for it
            with open(path, "wb") as file:
                fastavro.writer(file, fastavro.parse_schema(schema, named_schemas={}), [])
            with self.assertRaisesRegex(RuntimeError, "differs from ours"):
                l2live.offline(path, name)


if __name__ == "__main__":
    sys.exit(unittest.main())
