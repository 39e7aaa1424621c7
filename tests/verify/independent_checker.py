"""A second verifier, written from docs/format.md: the standard library alone, nothing of ours, no signatures.

`python independent_checker.py FOLDER` prints what a bundle lets anybody recompute; 1 where it says otherwise.
"""

import json
import sys
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from struct import pack, unpack


def H(*parts):
    return sha256(b"".join(parts)).digest()


def u64s(numbers):
    return pack(f"<{len(numbers)}Q", *numbers)


def read(text):
    value = json.loads(text)
    if json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() != text:
        raise ValueError("this JSON is not canonical")
    return value


def tree(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else H()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return H(b"\1", tree(leaves[:left]), tree(leaves[left:]))


def led_to(node, index, size, path):
    """The root that a path leads to: a neighbour stands left of a right child, and of the last node of a level."""
    last = size - 1
    for neighbour in map(bytes.fromhex, path):
        while not index & 1 and index == last > 0:
            index, last = index >> 1, last >> 1
        node = H(b"\1", neighbour, node) if index & 1 else H(b"\1", node, neighbour)
        index, last = index >> 1, last >> 1
    return node


def stream(seed, purpose, shard, index, count):
    address = seed, bytes([len(purpose)]), purpose.encode(), u64s([shard, index])
    a, b, *rest = unpack("<4Q", H(b"expunge/stream/1", *address))
    words, mask = [], 2**64 - 1
    while len(words) < count:
        c, k0, k1 = [len(words) // 4 + 1, 0, *rest], a, b
        for _ in range(10):
            low, high = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
            c = [high >> 64 ^ c[1] ^ k0, high & mask, low >> 64 ^ c[3] ^ k1, low & mask]
            k0, k1 = k0 + 0x9E3779B97F4A7C15 & mask, k1 + 0xBB67AE8584CAA73B & mask
        words += c
    return words[:count]


def cells(seed, units, recipe, tiers=()):
    shards, slices, by_slot = recipe["shards"], recipe["slices"], recipe["placement"] == "slot"
    count, filled, at = len(units) if by_slot else max(units) + 1, [0] * (shards * slices), {}
    for place, one in enumerate(sorted(range(count), key=stream(seed, "shard", 0, 0, count).__getitem__)):
        cell = min((c for c in range(shards * slices) if not tiers or c % slices == tiers[one]), key=filled.__getitem__)
        filled[cell] += units.count(one)
        at[one] = (place % shards, place // shards % slices) if by_slot else divmod(cell, slices)
    return [at[slot if by_slot else unit] for slot, unit in enumerate(units)]


def epochs(seed, units, recipe, tiers=()):
    """Every epoch: its shard, its number, its first step, and the chairs of its steps."""
    placed, slices, size = cells(seed, units, recipe, tiers), recipe["slices"], recipe["batch_size"]
    until = [(4 * recipe["epochs"] * stage + slices + 1) // (2 * slices + 2) for stage in range(slices + 1)]
    for shard in range(recipe["shards"]):
        epoch = step = 0
        for stage in range(slices):
            slots = [slot for slot, (own, part) in enumerate(placed) if own == shard and part <= stage]
            for _ in range(recipe["stages"][stage] if "stages" in recipe else max(1, until[stage + 1] - until[stage])):
                order = sorted(slots, key=stream(seed, "order", shard, epoch, len(units)).__getitem__)
                yield shard, epoch, step, [order[first : first + size] for first in range(0, len(order), size)]
                epoch, step = epoch + 1, step - (-len(order) // size)


def traced(members, kept, width):
    """The trace as it must be, but for losses and gradients, which are taken from the one that there is."""
    told = b""
    for shard in sorted({shard for shard, _, _, present in members if any(present)}):
        ends = b""
        for _, epoch, first, present in (one for one in members if one[0] == shard):
            for step, slots in enumerate(present, first):
                executed = H(b"expunge/executed/1", pack("<IQI", shard, step, len(slots)), u64s(slots))
                told += executed + (kept[len(told) + 32 : len(told) + width] if slots else H() * (width // 32 - 1))
            slots = sorted(slot for slots in present for slot in slots)
            ends += H(b"expunge/epoch/1", pack("<IQI", shard, epoch, len(slots)), u64s(slots))
        told += ends
    return told


def check(files):
    """What a bundle's files give, and the names of what they say otherwise."""
    records = {H(text).hex(): text for name, text in files.items() if name[:6] in ("commit", "envelo", "parent")}
    opened = {name: read(b64decode(read(text)["payload"])) for name, text in records.items()}
    chain = [opened[H(files["envelope.json"]).hex()]]
    while "parent" in chain[0]["predicate"]:
        chain.insert(0, opened[chain[0]["predicate"]["parent"]])
    commit, *runs = (link["predicate"] for link in chain)
    data, recipe, digest = commit["data"], read(files["recipe.json"]), H(files["recipe.json"])
    gone, roots, members, beacon = set(), [], [], runs[0]["randomness"]["beacon"]
    said = [(name, H(files[f"{name}.bin"]).hex(), data[name]) for name in ("units", "assignment")]
    splits = {"leaves": {**data, "rows": data["count"]}, "leaves-calibration": data["calibration"]}
    for name, part in {**splits, "leaves-holdout": data["holdout"]}.items():
        text = files[f"{name}.bin"]
        roots.append(tree([text[at : at + 32] for at in range(0, len(text), 32)]).hex())
        said.append((name, [roots[-1], len(text)], [part["root"], 32 * part["rows"]]))
    size, top = files["log/checkpoint"].decode().split("\n")[1:3]
    for name in records:
        proof = read(files[f"log/inclusion-{name}.json"])
        found = led_to(H(b"\0", bytes.fromhex(name)), proof["index"], proof["size"], proof["path"])
        said.append(("log", [found, proof["size"], proof["digest"]], [b64decode(top), int(size), name]))
    seed = H(b"expunge/seed/1", digest, bytes.fromhex(roots[0] + beacon["value"]))
    said.append(("tiers", H(files.get("tiers.bin", b"")).hex(), recipe.get("tiers", H().hex())))
    units, tiers = (unpack(f"<{len(text) // 8}Q", text) for text in (files["units.bin"], files.get("tiers.bin", b"")))
    schedule = list(epochs(seed, units, recipe, tiers))
    steps = [(shard, step, seats) for shard, _, first, batches in schedule for step, seats in enumerate(batches, first)]
    every = tree([H(b"\0expunge/step/1", pack("<IQI", s, t, len(seats)), u64s(seats)) for s, t, seats in steps])
    lengths = [sum(own == shard for own, _, _ in steps) for shard in range(recipe["shards"])]
    for run in runs:
        gone |= {slot for request in run["requests"] for slot in request["slots"]}
        said.append(("chain", [H(files["commit.json"]).hex(), len(chain)], [run["commit"], len(records)]))
        said.append(("tombstones", sorted(gone), run["data"]["tombstones"]))
        said.append(("recipe", [digest.hex()] * 2, [run["recipe"], commit["recipe"]]))
        said.append(("root", [roots[0], data["count"]], [run["data"]["root"], run["data"]["count"]]))
        said.append(("seed", [seed.hex(), beacon], [run["randomness"][name] for name in ("lineageSeed", "beacon")]))
        said.append(("schedule", [every.hex(), lengths], [run["schedule"][name] for name in ("root", "steps")]))
    for *epoch, batches in schedule:
        present = [[slot for slot in seats if slot not in gone] for seats in batches]
        members.append((*epoch, [slots if len(slots) >= recipe["least_present"] else [] for slots in present]))
    told = traced(members, files["trace.bin"], 64 if runs[-1]["trace"]["mode"] == "losses" else 96)
    said.append(("trace", [told, H(told).hex()], [files["trace.bin"], runs[-1]["trace"]["digest"]]))
    figures = {"recipe": digest.hex(), "root": roots[0], "seed": seed.hex(), "schedule": every.hex()}
    figures |= {"trace": H(told).hex(), "chairs": schedule, "members": members}
    return figures, sorted({name for name, found, stands in said if found != stands})


if __name__ == "__main__":
    found = (path for path in Path(sys.argv[1]).rglob("*") if path.is_file())
    figures, failed = check({path.relative_to(sys.argv[1]).as_posix(): path.read_bytes() for path in found})
    print(json.dumps({**figures, "failed": failed}))
    sys.exit(bool(failed))
