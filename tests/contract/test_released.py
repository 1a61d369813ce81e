"""Every released version of a schema is readable by every later one and by ours (BACKWARD_TRANSITIVE), and never changes.

schemas/released/RELEASE/NAME.avsc: a release adds a folder with the schemas that changed since; SHA256SUMS says that no
older one was touched. Readers are upgraded before writers, so nothing is asked of the other direction but that the test's
own next version (every record with a field more) shows how it would be done.

Seen to fail on: a field added without a default, a field of another type, a released file edited afterwards.
"""
import copy
import hashlib
import json
import random
import sys
import unittest

import l2kafka
from test_resolve_fastavro import Grower, Oracle, expected, written

SCHEMAS = l2kafka.ROOT / "schemas"
RELEASED = SCHEMAS / "released"


def versions(stem):
    """Oldest first, ours last."""
    paths = sorted(RELEASED.glob(f"*/{stem}.avsc"), key=lambda path: int(path.parent.name))
    return [json.loads(path.read_text()) for path in paths + [SCHEMAS / f"{stem}.avsc"]]


def timeless(schema):
    """Without logical types: fastavro's datetimes hold fewer years than a long does microseconds."""
    return json.loads(json.dumps(schema).replace('"logicalType": "timestamp-micros"', '"logicalTypeOfOurs": 1'))


def stems():
    return sorted(path.stem for path in SCHEMAS.glob("*.avsc"))


def with_field(schema):
    """A next version: a field with a default in front of the others."""
    made = copy.deepcopy(schema)
    made["fields"].insert(0, {"name": "added", "type": ["null", "string"], "default": None})
    return made


class Released(unittest.TestCase):
    def setUp(self):
        self.oracle, self.grower = Oracle(), Grower(random.Random(1))

    def tearDown(self):
        self.oracle.close()

    def reads(self, writer, reader, where):
        writer, reader = timeless(writer), timeless(reader)
        for _ in range(5):
            body = written(writer, self.value(writer))
            want = expected(writer, reader, body)
            self.assertIsNotNone(want, f"{where}: fastavro cannot read it")
            self.assertEqual(self.oracle(writer, reader, body), ("O", want), where)

    def value(self, schema):
        return self.grower.value(self.plain(schema, {}))

    def plain(self, schema, named):
        """Named types spelled out and logical types left out, as the grower knows them."""
        if isinstance(schema, list):
            return [self.plain(branch, named) for branch in schema]
        if isinstance(schema, str):
            return named.get(schema, schema)
        if schema["type"] == "record":
            fields = [{"name": f["name"], "type": self.plain(f["type"], named)} for f in schema["fields"]]
            named[schema["name"]] = {"type": "record", "name": schema["name"], "fields": fields}
            return named[schema["name"]]
        if schema["type"] == "array":
            return {"type": "array", "items": self.plain(schema["items"], named)}
        if schema["type"] in ("enum", "fixed"):
            named[schema["name"]] = schema
            return schema
        return self.plain(schema["type"], named)

    def test_transitive(self):
        for stem in stems():
            found = versions(stem)
            for older in range(len(found)):
                for newer in range(older, len(found)):
                    self.reads(found[older], found[newer], f"{stem}: version {older + 1} by {newer + 1} of {len(found)}")

    def test_next_version_both_ways(self):
        for stem in stems():
            ours = versions(stem)[-1]
            self.reads(ours, with_field(ours), f"{stem}: ours by the next")
            self.reads(with_field(ours), ours, f"{stem}: the next by ours")

    def test_ours_is_compatible_for_a_registry(self):
        """A field that a version lacks has a default; names and logical types stay."""
        for stem in stems():
            *older, ours = versions(stem)
            for schema in older:
                self.assertEqual((schema["name"], schema["namespace"]), (ours["name"], ours["namespace"]))
                known = {field["name"] for field in schema["fields"]}
                for field in ours["fields"]:
                    self.assertTrue(field["name"] in known or "default" in field, f"{stem}.{field['name']}: no default")

    def test_untouched(self):
        listed = dict(reversed(line.split()) for line in (RELEASED / "SHA256SUMS").read_text().splitlines())
        there = {str(path.relative_to(RELEASED)): hashlib.sha256(path.read_bytes()).hexdigest()
                 for path in RELEASED.glob("*/*.avsc")}
        self.assertEqual(there, listed, "a released schema was changed, or a new one is not in SHA256SUMS")


if __name__ == "__main__":
    sys.exit(unittest.main())
