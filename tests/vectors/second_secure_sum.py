# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A second implementation of ``fedcode-secagg/1``, from docs/protocol.md and the RFCs alone.

It imports nothing of fedcode and no cryptography but SHA-256, SHA-512 and HMAC. It is slow, has no
checks and no steps: from all secrets of a small sum it computes every message at once. Run as a
program it writes secure_sum.json.
"""

import hashlib
import hmac
import json
import struct
from pathlib import Path

PATH = Path(__file__).parent / "secure_sum.json"
FIELD = 2**256 + 297
P = 2**255 - 19


# X25519: RFC 7748, section 5.


def x25519(scalar, point):
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    u = int.from_bytes(point, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public(scalar):
    return x25519(scalar, b"\x09" + bytes(31))


# Ed25519: RFC 8032, section 5.1.

L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
BASE_Y = 4 * pow(5, P - 2, P) % P


def base_point():
    xx = (BASE_Y**2 - 1) * pow(D * BASE_Y**2 + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    x = P - x if x % 2 else x
    return x, BASE_Y, 1, x * BASE_Y % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(k, p):
    found = (0, 1, 1, 0)
    while k:
        if k & 1:
            found = add(found, p)
        p, k = add(p, p), k >> 1
    return found


def packed(p):
    z = pow(p[2], P - 2, P)
    x, y = p[0] * z % P, p[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def ed25519(secret, message=None):
    """The public key, or a signature."""
    digest = hashlib.sha512(secret).digest()
    a = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    own = packed(times(a, base_point()))
    if message is None:
        return own

    def scalar(*parts):
        return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L

    r = scalar(digest[32:], message)
    commitment = packed(times(r, base_point()))
    s = (r + scalar(commitment, own, message) * a) % L
    return commitment + s.to_bytes(32, "little")


# ChaCha20-Poly1305: RFC 8439.


def chacha20(key, counter, nonce):
    state = list(
        struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce)
    )
    work = state.copy()
    columns = [(i, 4 + i, 8 + i, 12 + i) for i in range(4)]
    diagonals = [(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
    for a, b, c, d in 10 * (columns + diagonals):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            work[x] = (work[x] + work[y]) % 2**32
            mixed = work[z] ^ work[x]
            work[z] = (mixed << n | mixed >> 32 - n) % 2**32
    return struct.pack("<16I", *((a + b) % 2**32 for a, b in zip(state, work, strict=True)))


def sealed(key, text, aad):
    nonce = bytes(12)
    stream = b"".join(chacha20(key, 1 + i, nonce) for i in range(len(text) // 64 + 1))
    data = bytes(a ^ b for a, b in zip(text, stream, strict=False))
    one_time = chacha20(key, 0, nonce)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    padded = b"".join(part + bytes(-len(part) % 16) for part in (aad, data))
    padded += struct.pack("<QQ", len(aad), len(data))
    total = 0
    for i in range(0, len(padded), 16):
        total = (total + int.from_bytes(padded[i : i + 16] + b"\x01", "little")) * r % (2**130 - 5)
    tag = (total + int.from_bytes(one_time[16:32], "little")) % 2**128
    return data + tag.to_bytes(16, "little")


# AES-256: FIPS 197; in counter mode.


def doubled(a):
    return (a << 1 ^ (0x11B if a & 0x80 else 0)) & 0xFF


def product(a, b):
    found = 0
    while b:
        found, a, b = found ^ (a if b & 1 else 0), doubled(a), b >> 1
    return found


def s_box():
    for a in range(256):
        inverse = next((b for b in range(256) if product(a, b) == 1), 0)
        rotated = inverse
        for n in (1, 2, 3, 4):
            rotated ^= (inverse << n | inverse >> 8 - n) & 0xFF
        yield rotated ^ 0x63


SBOX = bytes(s_box())


def round_keys(key):
    words, rcon = [key[i : i + 4] for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word, rcon = bytes([word[0] ^ rcon]) + word[1:], doubled(rcon)
        elif i % 8 == 4:
            word = bytes(SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[i - 8], word, strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


def aes256(keys, block):
    state = bytes(a ^ b for a, b in zip(block, keys[0], strict=True))
    for number, key in enumerate(keys[1:], 1):
        state = bytes(SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16))
        if number < 14:
            mixed = []
            for c in range(0, 16, 4):
                a, whole = state[c : c + 4], state[c] ^ state[c + 1] ^ state[c + 2] ^ state[c + 3]
                mixed += [a[i] ^ whole ^ doubled(a[i] ^ a[(i + 1) % 4]) for i in range(4)]
            state = bytes(mixed)
        state = bytes(a ^ b for a, b in zip(state, key, strict=True))
    return state


def keystream(key, words):
    """Words of 32 bits, little-endian."""
    keys = round_keys(key)
    data = b"".join(aes256(keys, i.to_bytes(16, "big")) for i in range(words // 4 + 1))
    return list(struct.unpack(f"<{words}I", data[: 4 * words]))


# The protocol's own: docs/protocol.md.


def hkdf(secret, salt, info):
    """RFC 5869, one block."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def labelled(use, data):
    label = b"fedcode-secagg/1/" + use
    return hashlib.sha256(len(label).to_bytes(2, "big") + label + data).hexdigest()


def named(names):
    return b"".join(bytes([len(name)]) + name.encode() for name in names)


def shares(secret, coefficients, n):
    """Values at 1 to n; ``coefficients`` from the highest power down to the first."""
    powers = [int.from_bytes(secret, "big"), *reversed(coefficients)]
    return [
        (sum(c * x**i for i, c in enumerate(powers)) % FIELD).to_bytes(33, "big")
        for x in range(1, n + 1)
    ]


def canonical(header):
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def message(mark, word, header, secret, payload=b""):
    """The bytes of a signed message, and its signature."""
    domain = b"fedcode/1/" + word
    signed = len(domain).to_bytes(2, "big") + domain + canonical(header)
    signature = ed25519(secret, signed).hex()
    text = canonical(header | {"signature": signature})
    return b"fedcode/1" + mark + len(text).to_bytes(4, "big") + text + payload, signature


def a_sum(given):
    """Every message and digest of the sum, from what is ``given``: all in hexadecimal."""
    names = sorted(given["members"])
    n = len(names)
    index = {name: i for i, name in enumerate(names, 1)}
    own = {
        name: {k: bytes.fromhex(v) for k, v in m.items() if isinstance(v, str)}
        for name, m in given["members"].items()
    }
    coordinator = bytes.fromhex(given["coordinator"])
    where = {key: given[key] for key in ("agreement", "round", "plan")}
    found = {}

    # R0
    place = bytes.fromhex(given["agreement"]) + given["round"].to_bytes(4, "big")
    place += bytes.fromhex(given["plan"])
    headers, book = {}, b""
    for name in names:
        header = where | {
            "weights": given["weights"],
            "member": name,
            "sharing": public(own[name]["sharing"]).hex(),
            "masking": public(own[name]["masking"]).hex(),
            "commitment": labelled(b"self", place + bytes([index[name]]) + own[name]["seed"]),
        }
        data, signature = message(b"K", b"keys", header, own[name]["signing"])
        found[f"keys {name}"] = data.hex()
        headers[name], book = header | {"signature": signature}, book + data
    header = where | {"keys": [headers[name] for name in names]}
    found["key book"] = message(b"B", b"key-book", header, coordinator)[0].hex()
    transcript = labelled(b"transcript", book)
    salt = bytes.fromhex(transcript)
    found["transcript"] = transcript

    # R1
    seeds, keys, sent = {}, {}, {}
    for name in names:
        drawn = given["members"][name]["coefficients"]
        half = len(drawn) // 2
        drawn = [int(c, 16) for c in drawn]
        seeds[name] = shares(own[name]["seed"], drawn[:half], n)
        keys[name] = shares(own[name]["masking"], drawn[half:], n)
        for other in names:
            if other != name:
                way = bytes([index[name], index[other]])
                secret = x25519(own[name]["sharing"], bytes.fromhex(headers[other]["sharing"]))
                key = hkdf(secret, salt, b"fedcode-secagg/1/share" + way)
                text = seeds[name][index[other] - 1] + keys[name][index[other] - 1]
                sent[name, other] = sealed(key, text, salt + way).hex()
        pairs = [[other, sent[name, other]] for other in names if other != name]
        header = where | {"member": name, "transcript": transcript, "ciphertexts": pairs}
        found[f"shares {name}"] = message(b"S", b"shares", header, own[name]["signing"])[0].hex()
    for name in names:
        pairs = [[other, sent[other, name]] for other in names if other != name]
        header = where | {"member": name, "transcript": transcript, "ciphertexts": pairs}
        found[f"delivery {name}"] = message(b"D", b"share-delivery", header, coordinator)[0].hex()
    sharers = labelled(b"sharers", salt + named(names))
    found["sharers"] = sharers
    about = where | {"transcript": transcript, "sharers": sharers}

    # R2
    survivors = [name for name in names if name not in given["dropped"]]
    total = [0] * given["length"]
    for name in survivors:
        term = given["members"][name]["term"]
        masked = [q + b for q, b in zip(term, keystream(own[name]["seed"], len(term)), strict=True)]
        for other in names:
            if other != name:
                low, high = sorted((index[name], index[other]))
                secret = x25519(own[name]["masking"], bytes.fromhex(headers[other]["masking"]))
                key = hkdf(secret, salt, b"fedcode-secagg/1/mask" + bytes([low, high]))
                found[f"mask key {low} {high}"] = key.hex()
                sign = 1 if name < other else -1
                stream = keystream(key, len(term))
                masked = [y + sign * k for y, k in zip(masked, stream, strict=True)]
        payload = struct.pack(f"<{len(term)}I", *(y % 2**32 for y in masked))
        header = about | {"member": name, "payload": hashlib.sha256(payload).hexdigest()}
        data, _ = message(b"M", b"masked-update", header, own[name]["signing"], payload)
        found[f"masked {name}"] = data.hex()
        total = [a + b for a, b in zip(total, term, strict=True)]
    about["survivors"] = survivors
    found["survivors"] = message(b"L", b"survivor-list", about, coordinator)[0].hex()
    found["latch"] = labelled(b"survivors", salt + bytes.fromhex(sharers) + named(survivors))

    # R3
    pairs = []
    for name in survivors:
        header = about | {"member": name}
        data, signature = message(b"C", b"confirmation", header, own[name]["signing"])
        found[f"confirmation {name}"] = data.hex()
        pairs.append([name, signature])
    header = about | {"confirmations": pairs}
    found["confirmations"] = message(b"A", b"confirmation-list", header, coordinator)[0].hex()

    # R4
    for name in survivors:
        i = index[name] - 1
        header = {key: value for key, value in about.items() if key != "survivors"} | {
            "member": name,
            "seeds": [[other, seeds[other][i].hex()] for other in survivors],
            "keys": [[other, keys[other][i].hex()] for other in names if other not in survivors],
        }
        found[f"reveal {name}"] = message(b"V", b"reveal", header, own[name]["signing"])[0].hex()
    found["total"] = total
    return found


def drawn(label, size):
    """Numbers that mean nothing."""
    return hashlib.shake_256(b"fedcode test vector: " + label.encode()).digest(size)


def example():
    """Four members, of which one shares and then leaves; t is 3."""
    members = {}
    for name, term in {
        "acme": [0, 1, -1, 536870911, 7],
        "globex": [0, 2, -2, 536870911, -536870911],
        "initech": [0, 3, -3, 536870911, 1],
        "umbrella": [0, 4, -4, -536870911, 3],
    }.items():
        members[name] = {
            key: drawn(f"{name} {key}", 32).hex()
            for key in ("signing", "seed", "sharing", "masking")
        } | {"coefficients": [drawn(f"{name} {i}", 32).hex() for i in range(4)], "term": term}
    return {
        "agreement": "a1" * 32,
        "round": 3,
        "plan": "b2" * 32,
        "weights": "c3" * 32,
        "coordinator": drawn("coordinator", 32).hex(),
        "members": members,
        "dropped": ["globex"],
        "length": 5,
    }


if __name__ == "__main__":
    text = json.dumps({"given": example(), "found": a_sum(example())}, indent=1)
    PATH.write_text(text + "\n", encoding="utf-8")
