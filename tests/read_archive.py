#!/usr/bin/env python3
"""Proves an archive by docs/archive-format.md alone, and prints its rows per kind as JSON. Usage: read_archive.py FILE
Needs Python 3.11 and the `zstd` command."""
import hashlib, json, struct, subprocess, sys
from collections import Counter

TRAILER = struct.Struct("<4sI12sIQ32sQQ32s32s")


def need(holds, what):
    if not holds:
        sys.exit(f"error: {what}")


def lines(frame, what):
    done = subprocess.run(["zstd", "-dcq", "--memory=64MB"], input=frame, capture_output=True)
    need(done.returncode == 0, f"{what}: {done.stderr.decode(errors='replace').strip()}")
    need(done.stdout.endswith(b"\n"), f"{what}: it does not end with a line feed")
    return [json.loads(line) for line in done.stdout.splitlines()], len(done.stdout)


def main(path):
    with open(path, "rb") as file:
        data = file.read()
    need(len(data) > TRAILER.size, "too short for an archive")
    (skippable, size, magic, version, header_length, header_sum,
     offset, length, manifest_sum, own_sum) = TRAILER.unpack(data[-TRAILER.size:])
    need(skippable == b"\x5a\x2a\x4d\x18" and magic == b"metaferry\0\0\0", "no trailer: not a whole archive")
    need(own_sum == hashlib.sha256(data[-TRAILER.size:-32]).digest(), "the trailer was altered")
    need(version == 1 and size == TRAILER.size - 8, f"format {version}, while 1 is understood")
    need(offset + length + TRAILER.size == len(data), "the trailer does not fit the file")
    header, manifest = data[:header_length], data[offset:offset + length]
    sums = [hashlib.sha256(frame).digest() for frame in (header, manifest)]
    need(sums == [header_sum, manifest_sum], "the header or the manifest was altered")
    (said,), _ = lines(header, "header")
    need(said["metaferry"]["format"] == 1, "a newer format")
    (totals, *entries, end), _ = lines(manifest, "manifest")
    need(end == {"end": {"of": "manifest"}}, "the manifest does not end as it must")
    rows, place, found = Counter(), header_length, Counter()
    for entry in entries:
        (name, entry), = entry.items()
        found[name] += 1
        if name == "segment":
            need(entry["offset"] == place, f"segment {entry['number']} is not where it must be")
            frame = data[place:place + entry["length"]]
            need(hashlib.sha256(frame).hexdigest() == entry["sha256"], f"segment {entry['number']} was altered")
            (head, *body), size = lines(frame, f"segment {entry['number']}")
            need(head == {"segment": {key: entry[key] for key in ("number", "kind", "rows")}}, "a segment of something else")
            need(len(body) == entry["rows"] and size == entry["bytes"], f"segment {entry['number']} has other rows")
            rows[entry["kind"]] += len(body)
            place += entry["length"]
    need(place == offset, "the segments do not end where the manifest begins")
    said = {"segments": found["segment"], "cells": found["cell"], "largest": found["largest"], "rows": rows.total()}
    need(said.items() <= totals["manifest"].items(), "the manifest's totals do not hold")
    print(json.dumps(dict(sorted(rows.items()))))


if __name__ == "__main__":
    main(*sys.argv[1:])
