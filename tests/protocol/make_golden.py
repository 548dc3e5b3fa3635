"""Writes tests/protocol/golden/ (python -m tests.protocol.make_golden) with nothing of the product.

Each file has the topic without its root, the payload in diagnostic notation and in hexadecimal, the
envelope, its message hash, and the fields under the names of fedling_protocol/wire/messages.py,
bytes in hexadecimal. The keys are those of the seeds below. digests.json has hashes and orders.
"""

import hashlib
import hmac
import json
import struct
from pathlib import Path

from tests.protocol.by_hand import Signer, Value, cbor, diagnostic

GOLDEN = Path(__file__).parent / "golden"
ROOT_KEY, ONLINE_KEY, DEVICE_KEY, AUTHORITY_KEY, SECOND_KEY, THIRD_KEY = (
    Signer(bytes([n]) * 32) for n in range(1, 7)
)
DEVICE = DEVICE_KEY.device
PLAN_ID, NONCE = bytes(range(16)), bytes(range(100, 108))
BASE, HAVE = hashlib.sha256(b"base").digest(), hashlib.sha256(b"update").digest()
Json = dict[str, object]

SPEC: dict[int, Value] = {
    1: "watch", 2: "wrist", 3: 4, 4: 2, 5: 3, 6: "device", 7: ["rest", "größer"],
    8: [
        [1, 1, 4, 3, 2, 1, 1, 2, 1, 1, 0, 0, 0, 0], [4, 1, 3, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    9: 0,
}  # fmt: skip
SPEC_FIELDS: Json = {
    "task": "watch", "stream": "wrist", "window": 4, "stride": 2, "channels": 3,
    "normalise": "device", "labels": ["rest", "größer"],
    "layers": [
        {
            "kind": 1, "height": 1, "width": 4, "channels": 3, "out": 2, "relu": True,
            "kernel": [1, 2], "stride": [1, 1], "pad": [0, 0, 0, 0],
        },
        {
            "kind": 4, "height": 1, "width": 3, "channels": 2, "out": 2, "relu": False,
            "kernel": [0, 0], "stride": [0, 0], "pad": [0, 0, 0, 0],
        },
        {
            "kind": 0, "height": 1, "width": 1, "channels": 2, "out": 2, "relu": False,
            "kernel": [0, 0], "stride": [0, 0], "pad": [0, 0, 0, 0],
        },
    ],
    "loss": 0, "scale": None,
}  # fmt: skip
SCALES: list[list[int]] = [[-1234, 200, 9], [0, 128, -6], [32767, 0, 0]]
FLEET: dict[int, Value] = {**SPEC, 6: "fleet"}
FLEET_FIELDS: Json = {**SPEC_FIELDS, "normalise": "fleet"}
SCALED: Value = {**FLEET, 10: [[*scale] for scale in SCALES]}
SCALED_FIELDS: Json = {**FLEET_FIELDS, "scale": SCALES}
SUMS = struct.pack("<QqQqQqQ", 12, -40, 1234, 0, 0, 393_204, 12_884_508_684)
# Weights [2][1][2][3] and [2][2], biases [2] and [2].
WEIGHTS = b"".join(struct.pack("<h", n * 137 - 1200) for n in range(16))
WEIGHTS += b"".join(struct.pack("<i", n * 199_991 - 300_000) for n in range(4))
CODED = bytes([1, 7, 20]) + bytes(range(8)) + b"\xfe\xed"
DELTA = b"".join(struct.pack("<h", 5 - n) for n in range(16)) + bytes(16)
TRAINING_FIELDS: Json = {
    "epochs": 3, "batch": 16, "lr_q24": 1_048_576, "min_examples": 20, "weight_cap": 1000,
    "holdout": 200, "holdout_block": 500,
    "momentum": 230, "clip_q16": 65_536, "frozen": 1, "proximal_q16": 655,
    "new_examples": 0,
}  # fmt: skip


def main() -> None:
    """Write every file anew."""
    GOLDEN.mkdir(exist_ok=True)
    for name, content in vectors().items():
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def vectors() -> dict[str, Json]:
    """Every file's content, by its name without .json."""
    return {
        **certificates(), **plans(), **answers(), **from_device(), **enrolment(),
        "digests": digests(), "token": token(),
    }  # fmt: skip


def message(signer: Signer, topic: str, payload: Value, fields: Json) -> Json:
    """One golden message, `topic` behind 1/demo/."""
    topic = f"1/demo/{topic}"
    data = cbor(payload)
    envelope = signer.seal(data, topic.encode())
    return {
        "topic": topic,
        "diagnostic": diagnostic(payload),
        "payload": data.hex(),
        "envelope": envelope.hex(),
        "message_hash": hashlib.sha256(envelope).hexdigest(),
        "fields": fields,
    }


def certificates() -> dict[str, Json]:
    def certificate(
        signer: Signer, owner: str, key: bytes, serial: int, more: dict[int, Value], **fields: Value
    ) -> Json:
        role = "device" if owner == DEVICE else owner
        payload: Value = {0: 1, 1: key, 2: role, 3: "demo", 4: owner, 5: serial, **more}
        said: Json = {
            "key": key.hex(), "role": role, "fleet": "demo", "id": owner, "serial": serial,
            "issued_s": 0, "until_s": 0, "name": "", "revoked": False, **fields,
        }  # fmt: skip
        return message(signer, f"keys/{owner}", payload, said)

    online, device, authority = ONLINE_KEY.public, DEVICE_KEY.public, AUTHORITY_KEY.public
    return {
        "certificate-aggregator": certificate(ROOT_KEY, "aggregator", online, 7, {}),
        "certificate-device": certificate(ROOT_KEY, DEVICE, device, 70_000, {}),
        "certificate-authority": certificate(
            ROOT_KEY, "authority", authority, 8, {6: 1_790_000_000, 7: 1_947_680_000},
            issued_s=1_790_000_000, until_s=1_947_680_000,
        ),
        "certificate-named": certificate(
            AUTHORITY_KEY, DEVICE, device, 70_001,
            {6: 1_790_000_100, 7: 1_797_776_100, 8: "kitchen"},
            issued_s=1_790_000_100, until_s=1_797_776_100, name="kitchen",
        ),
        "certificate-revoked": certificate(
            AUTHORITY_KEY, DEVICE, device, 70_002, {6: 1_790_000_200, 8: "kitchen", 9: True},
            issued_s=1_790_000_200, name="kitchen", revoked=True,
        ),
        "roots": roots(),
    }  # fmt: skip


def roots() -> Json:
    """Each root signs an array of five, which no envelope's signature is over."""
    links: list[Value] = []
    fields: list[Json] = []
    chain = (ROOT_KEY, SECOND_KEY, THIRD_KEY)
    for index, issued_s in ((1, 1_800_000_000), (2, 1_900_000_000)):
        key = chain[index].public
        said = cbor(["fedling root 1", "demo", index, key, issued_s])
        signature = chain[index - 1].sign(said)
        links.append({1: key, 2: issued_s, 3: signature})
        fields.append({"key": key.hex(), "issued_s": issued_s, "signature": signature.hex()})
    return message(THIRD_KEY, "roots/list", {0: 1, 1: links}, {"links": fields})


def plans() -> dict[str, Json]:
    plan: dict[int, Value] = {
        0: 1, 1: "train", 2: PLAN_ID, 3: 41, 4: 40, 5: BASE, 6: SPEC,
        7: {
            1: 3, 2: 16, 3: 1_048_576, 4: 20, 5: 1000, 6: 200, 7: 500,
            8: 230, 9: 65_536, 10: 1, 11: 655,
        },
        8: {1: False, 2: 40, 3: -5}, 9: 0, 10: "raw int16", 12: 321,
    }  # fmt: skip
    fields: Json = {
        "plan_id": PLAN_ID.hex(), "round": 41, "base_version": 40, "base_hash": BASE.hex(),
        "spec": SPEC_FIELDS, "training": TRAINING_FIELDS,
        "conditions": {"mains": False, "battery": 40, "temperature": -5},
        "rate": 0, "codec": "raw int16", "cohort": None, "model_size": 321, "spread_s": None,
        "epoch": 0, "generation": 0, "kind": "train", "target": None, "change_size": None,
        "recent": None,
        "chunked": None,
    }  # fmt: skip
    coded: Value = {**plan, 10: "coded", 17: 16}
    coded_fields = {**fields, "codec": "coded", "target": 16}
    statistics: Value = {**plan, 1: "statistics", 6: FLEET, 10: "sums"}
    statistics_fields = {**fields, "kind": "statistics", "spec": FLEET_FIELDS, "codec": "sums"}
    named: dict[int, Value] = {**plan, 11: [DEVICE, "abcdefghijklmnop"], 13: 60}
    named_fields = {**fields, "cohort": [DEVICE, "abcdefghijklmnop"], "spread_s": 60}
    training = plan[7]
    assert isinstance(training, dict)
    wants_new: Value = {**plan, 7: {**training, 12: 30}}
    wants_new_fields = {**fields, "training": {**TRAINING_FIELDS, "new_examples": 30}}
    rest: dict[int, Value] = {0: 1, 1: "rest", 4: 40, 5: BASE, 6: SPEC, 12: 321, 14: 86_400}
    rest_fields: Json = {
        "version": 40, "model_hash": BASE.hex(), "spec": SPEC_FIELDS, "model_size": 321,
        "look_again_s": 86_400, "epoch": 0, "generation": 0, "change_size": None,
        "recent": None,
        "paused": None, "chunked": None,
    }  # fmt: skip
    model: dict[int, Value] = {0: 1, 1: 40, 2: SPEC, 3: [-5, 0, -7], 4: WEIGHTS}
    model_fields: Json = {
        "version": 40, "spec": SPEC_FIELDS, "exponents": [-5, 0, -7], "weights": WEIGHTS.hex(),
        "drawn": False, "packed": False,
    }  # fmt: skip
    drawn: Value = {**model, 2: SCALED, 5: True}
    drawn_fields = {**model_fields, "spec": SCALED_FIELDS, "drawn": True}
    packed: Value = {**model, 4: b"packed", 6: True}
    packed_fields = {**model_fields, "weights": b"packed".hex(), "packed": True}
    change: Value = {0: 1, 1: 40, 2: [-5, 0, -7], 3: b"steps", 4: True}
    change_fields: Json = {
        "version": 40, "exponents": [-5, 0, -7], "steps": b"steps".hex(), "drawn": True,
    }  # fmt: skip
    chunk: Value = {0: 1, 1: "chunk", 2: HAVE, 3: 600, 4: b"some of it"}
    chunk_fields: Json = {"whole": HAVE.hex(), "size": 600, "data": b"some of it".hex()}
    chunked: Value = {1: 300, 2: HAVE}
    chunked_fields: Json = {"size": 300, "model": HAVE.hex(), "change": None}
    both: Value = {1: 256, 2: HAVE, 3: BASE}
    both_fields: Json = {"size": 256, "model": HAVE.hex(), "change": BASE.hex()}
    life: dict[int, Value] = {15: 1_790_000_000, 16: 3}
    life_fields: Json = {"epoch": 1_790_000_000, "generation": 3}
    tasks: Value = {0: 1, 1: 9, 2: [{1: "fan", 2: 0}, {1: "watch", 2: 3}], 3: 1_790_000_000}
    tasks_fields: Json = {
        "number": 9,
        "tasks": [{"task": "fan", "generation": 0}, {"task": "watch", "generation": 3}],
        "epoch": 1_790_000_000,
    }
    topic = "watch/plan/train"
    return {
        "plan-life": message(ONLINE_KEY, topic, {**named, **life}, {**named_fields, **life_fields}),
        "rest-life": message(
            ONLINE_KEY,
            topic,
            {**rest, **life, 6: SCALED, 19: "größer, bitte warten"},
            {**rest_fields, **life_fields, "spec": SCALED_FIELDS, "paused": "größer, bitte warten"},
        ),
        "plan-statistics": message(
            ONLINE_KEY, "watch/plan/statistics", statistics, statistics_fields
        ),
        "tasks": message(ONLINE_KEY, "tasks/list", tasks, tasks_fields),
        "plan": message(ONLINE_KEY, "watch/plan/train", plan, fields),
        "plan-coded": message(ONLINE_KEY, topic, coded, coded_fields),
        "plan-cohort": message(ONLINE_KEY, "watch/plan/train", named, named_fields),
        "plan-new-examples": message(ONLINE_KEY, topic, wants_new, wants_new_fields),
        "rest": message(ONLINE_KEY, "watch/plan/train", rest, rest_fields),
        "model": message(ONLINE_KEY, "watch/model/40", model, model_fields),
        "model-packed": message(ONLINE_KEY, "watch/model/40", packed, packed_fields),
        "change": message(ONLINE_KEY, "watch/change/40", change, change_fields),
        "plan-change": message(ONLINE_KEY, topic, {**plan, 18: 77}, {**fields, "change_size": 77}),
        "plan-recent": message(
            ONLINE_KEY,
            topic,
            {**plan, 18: 77, 21: [3, 240]},
            {**fields, "change_size": 77, "recent": {"count": 3, "size": 240}},
        ),
        "rest-recent": message(
            ONLINE_KEY,
            topic,
            {**rest, 18: 78, 21: [8, 300]},
            {**rest_fields, "change_size": 78, "recent": {"count": 8, "size": 300}},
        ),
        "rest-change": message(
            ONLINE_KEY, topic, {**rest, 18: 78}, {**rest_fields, "change_size": 78}
        ),
        "chunk": message(ONLINE_KEY, "watch/chunk/model/40/1", chunk, chunk_fields),
        "plan-chunked": message(
            ONLINE_KEY, topic, {**plan, 20: chunked}, {**fields, "chunked": chunked_fields}
        ),
        "rest-chunked": message(
            ONLINE_KEY,
            topic,
            {**rest, 18: 300, 20: both},
            {**rest_fields, "change_size": 300, "chunked": both_fields},
        ),
        "model-drawn": message(ONLINE_KEY, "watch/model/40", drawn, drawn_fields),
    }


def answers() -> dict[str, Json]:
    def ticket(answer: str, seconds: int, reason: str, epoch: int = 0, here: bytes = b"") -> Json:
        payload: dict[int, Value] = {0: 1, 1: PLAN_ID, 2: NONCE, 3: answer, 4: seconds, 5: reason}
        payload |= {6: epoch} if epoch else {}
        payload |= {7: here} if here else {}
        fields: Json = {
            "plan_id": PLAN_ID.hex(), "nonce": NONCE.hex(), "answer": answer,
            "seconds": seconds, "reason": reason, "epoch": epoch,
            "here": here.hex(),
        }  # fmt: skip
        return message(ONLINE_KEY, f"watch/ticket/{DEVICE}", payload, fields)

    def receipt(
        about: bytes | None, verdict: str, reason: str, of: str | None, epoch: int = 0
    ) -> Json:
        payload: dict[int, Value] = {0: 1, 1: PLAN_ID, 2: about, 3: verdict, 4: reason}
        fields: Json = {
            "plan_id": PLAN_ID.hex(), "update_hash": about.hex() if about else None,
            "verdict": verdict, "reason": reason, "of": of, "epoch": epoch,
        }  # fmt: skip
        payload |= {5: of} if of is not None else {}
        payload |= {6: epoch} if epoch else {}
        return message(ONLINE_KEY, f"watch/receipt/{DEVICE}", payload, fields)

    return {
        "ticket-go": ticket("go", 86_400, ""),
        "ticket-wait": ticket("wait", 60, "not enrolled"),
        "ticket-here": ticket("go", 60, "", 1, bytes([5, 255, 1])),
        "receipt": receipt(HAVE, "accepted", "", None),
        "receipt-late": receipt(None, "late", "", None),
        "receipt-duplicate": receipt(HAVE, "duplicate", "", "accepted"),
        "ticket-epoch": ticket("wait", 60, "cohort full", 4_294_967_295),
        "receipt-epoch": receipt(HAVE, "duplicate", "", "accepted", 1),
    }


def from_device() -> dict[str, Json]:
    def join(have: bytes | None, key: bytes | None) -> Json:
        payload: dict[int, Value] = {0: 1, 1: PLAN_ID, 2: NONCE}
        payload |= {3: have} if have else {}
        payload |= {4: key} if key else {}
        fields: Json = {
            "plan_id": PLAN_ID.hex(), "nonce": NONCE.hex(),
            "have": have.hex() if have else None, "key": key.hex() if key else None,
        }  # fmt: skip
        return message(DEVICE_KEY, f"watch/join/{DEVICE}", payload, fields)

    update: dict[int, Value] = {
        0: 1, 1: PLAN_ID, 2: 40, 3: BASE, 4: 333, 5: "raw int16", 6: DELTA, 7: 4, 8: 1,
    }  # fmt: skip
    update_fields: Json = {
        "plan_id": PLAN_ID.hex(), "base_version": 40, "base_hash": BASE.hex(), "weight": 333,
        "codec": "raw int16", "vector": DELTA.hex(), "saturated": 4, "chunks": 1, "tested": None,
    }  # fmt: skip
    chunk: Value = {0: 1, 1: "chunk", 2: HAVE, 3: 900, 4: b"some of it"}
    chunk_fields: Json = {"whole": HAVE.hex(), "size": 900, "data": b"some of it".hex()}
    tests: list[list[int]] = [[0, 0], [4096, 4095]]
    tested: Value = {**update, 9: [[*one] for one in tests]}
    tested_fields = {**update_fields, "tested": tests}
    coded: Value = {**update, 5: "coded", 6: CODED}
    coded_fields = {**update_fields, "codec": "coded", "vector": CODED.hex()}
    unchanged: Value = {**update, 5: "coded", 6: b"", 7: 0}
    unchanged_fields = {**update_fields, "codec": "coded", "vector": "", "saturated": 0}
    statistics: Value = {**update, 5: "sums", 6: SUMS, 7: 0}
    statistics_fields = {**update_fields, "codec": "sums", "vector": SUMS.hex(), "saturated": 0}
    state_fields: Json = {"code": "waiting", "version": 40, "why_not": ""}
    paused: Value = {0: 1, 1: "idle", 2: 40, 3: "paused"}
    paused_fields: Json = {"code": "idle", "version": 40, "why_not": "paused"}
    return {
        "join": join(None, None),
        "join-have": join(HAVE, None),
        "join-uncertified": join(None, DEVICE_KEY.public),
        "update": message(
            DEVICE_KEY, f"watch/up/{DEVICE}/{PLAN_ID.hex()}/0", update, update_fields
        ),
        "update-chunk": message(
            DEVICE_KEY, f"watch/up/{DEVICE}/{PLAN_ID.hex()}/17", chunk, chunk_fields
        ),
        "update-coded": message(
            DEVICE_KEY, f"watch/up/{DEVICE}/{PLAN_ID.hex()}/0", coded, coded_fields
        ),
        "update-unchanged": message(
            DEVICE_KEY, f"watch/up/{DEVICE}/{PLAN_ID.hex()}/0", unchanged, unchanged_fields
        ),
        "update-tested": message(
            DEVICE_KEY, f"watch/up/{DEVICE}/{PLAN_ID.hex()}/0", tested, tested_fields
        ),
        "update-statistics": message(
            DEVICE_KEY, f"watch/up/{DEVICE}/{PLAN_ID.hex()}/0", statistics, statistics_fields
        ),
        "state": message(DEVICE_KEY, f"state/{DEVICE}", {0: 1, 1: "waiting", 2: 40}, state_fields),
        "state-paused": message(DEVICE_KEY, f"state/{DEVICE}", paused, paused_fields),
    }


SECRET = bytes(range(200, 216))
TLS_KEY = bytes([2]) + bytes(range(32))  # an x that a point has
ASK_NONCE, SEAL_KEY = bytes(range(50, 66)), bytes(range(150, 182))
TLS_CERTIFICATE, TLS_CA = b"0\x82 not a certificate", b"0\x82 nor this"


def derived(label: str, size: int) -> bytes:
    """RFC 5869, without salt, of at most one block."""
    extracted = hmac.new(bytes(32), SECRET, hashlib.sha256).digest()
    info = f"fedling token 1 {label}".encode()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:size]


def code(purpose: str, payload: dict[int, Value]) -> bytes:
    """What proves the token over a message that has no code yet."""
    return hmac.new(derived(purpose, 32), cbor(payload), hashlib.sha256).digest()


def enrolment() -> dict[str, Json]:
    token_id = derived("id", 8)
    renewal: dict[int, Value] = {0: 1, 1: DEVICE_KEY.public, 2: ASK_NONCE, 3: TLS_KEY}
    ask: dict[int, Value] = {**renewal, 4: "kitchen", 5: token_id, 7: SEAL_KEY}
    proof = code("ask", ask)
    ask[6] = proof
    renewal_fields: Json = {
        "key": DEVICE_KEY.public.hex(), "nonce": ASK_NONCE.hex(), "tls_key": TLS_KEY.hex(),
        "name": "", "token_id": None, "mac": None, "seal_key": None,
    }  # fmt: skip
    ask_fields: Json = {
        **renewal_fields, "name": "kitchen", "token_id": token_id.hex(), "mac": proof.hex(),
        "seal_key": SEAL_KEY.hex(),
    }  # fmt: skip
    signed = certificates()
    authority, aggregator, device, chain = (
        bytes.fromhex(str(signed[name]["envelope"]))
        for name in (
            "certificate-authority",
            "certificate-aggregator",
            "certificate-named",
            "roots",
        )
    )
    granted: dict[int, Value] = {
        0: 1, 1: ASK_NONCE, 2: "",
        3: {
            1: ROOT_KEY.public, 2: authority, 3: aggregator, 4: device, 5: "192.168.1.20", 6: 8883,
            7: chain, 8: TLS_CERTIFICATE, 9: TLS_CA,
        },
    }  # fmt: skip
    proof = code("answer", granted)
    granted[4] = proof
    granted_fields: Json = {
        "nonce": ASK_NONCE.hex(), "reason": "", "mac": proof.hex(),
        "grant": {
            "root": ROOT_KEY.public.hex(), "authority": authority.hex(),
            "aggregator": aggregator.hex(), "device": device.hex(), "host": "192.168.1.20",
            "port": 8883, "roots": chain.hex(), "tls_certificate": TLS_CERTIFICATE.hex(),
            "tls_ca": TLS_CA.hex(),
        },
    }  # fmt: skip
    refused: Value = {0: 1, 1: ASK_NONCE, 2: "token used up"}
    refused_fields: Json = {
        "nonce": ASK_NONCE.hex(), "reason": "token used up", "grant": None, "mac": None,
    }  # fmt: skip
    where, back = f"enrol/{DEVICE}", f"enrolled/{DEVICE}"
    return {
        "enrol": message(DEVICE_KEY, where, ask, ask_fields),
        "enrol-renewal": message(DEVICE_KEY, where, renewal, renewal_fields),
        "enrolled": message(ONLINE_KEY, back, granted, granted_fields),
        "enrolled-refused": message(ONLINE_KEY, back, refused, refused_fields),
    }


def token() -> Json:
    """Its text, and what is derived from it."""
    mark = hashlib.sha256(ROOT_KEY.public).digest()[:16]
    data = b"\x01" + SECRET + mark + struct.pack(">H", 8884)
    data += b"\x04demo" + b"\x00" + b"\x0c192.168.1.20"
    data += hashlib.sha256(b"fedling token" + data).digest()[:4]
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    letters = [
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[int(bits[n : n + 5], 2)] for n in range(0, len(bits), 5)
    ]
    groups = ["".join(letters[n : n + 4]) for n in range(0, len(letters), 4)]
    return {
        "secret": SECRET.hex(),
        "fingerprint": mark.hex(),
        "fleet": "demo",
        "topic_root": "fedling",
        "host": "192.168.1.20",
        "port": 8884,
        "text": "-".join(groups),
        "id": derived("id", 8).hex(),
        "user": f"enrol-{derived('id', 8).hex()}",
        "password": derived("password", 16).hex(),
        "mac_of_nothing": {
            purpose: hmac.new(derived(purpose, 32), b"", hashlib.sha256).hexdigest()
            for purpose in ("ask", "answer")
        },
    }


def digests() -> Json:
    """Model hash, plan ids and orders, computed from the words of SPEC.md section 3."""
    layers = bytes([0, 3])  # softmax, 3 layers
    layers += struct.pack("<BHHHHB8Bb", 1, 1, 4, 3, 2, 1, 1, 2, 1, 1, 0, 0, 0, 0, -5)
    layers += struct.pack("<BHHHHB8Bb", 4, 1, 3, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    layers += struct.pack("<BHHHHB8Bb", 0, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, -7)
    model = b"fedling model 1" + layers + WEIGHTS
    scales = b"".join(struct.pack("<hBb", *scale) for scale in SCALES)
    scaled = b"fedling model 2" + layers + scales + WEIGHTS
    secret = b"\x05" * 32
    plan = hmac.new(secret, cbor(["plan", "demo", "watch", 41, BASE, 2, 3]), hashlib.sha256)
    coded = hashlib.sha256(b"fedling codec 1" + PLAN_ID + DEVICE.encode()).digest()
    seed = hmac.new(secret, cbor(["order", "demo", "watch", PLAN_ID]), hashlib.sha256).digest()
    return {
        "model_hash": hashlib.sha256(model).hexdigest(),
        "scaled_model_hash": hashlib.sha256(scaled).hexdigest(),
        "secret": secret.hex(),
        "plan_id": plan.hexdigest()[:32],
        "order_seed": seed.hex(),
        "codec_seed": list(struct.unpack("<II", coded[:8])),
        "orders": [
            {"epoch": epoch, "count": count, "order": order(seed, epoch, count)}
            for epoch, count in ((0, 0), (0, 1), (0, 2), (0, 40), (1, 40), (300, 9))
        ],
    }


def order(seed: bytes, epoch: int, count: int) -> list[int]:
    """As the page says, word by word."""
    result = list(range(count))
    for drawn, i in enumerate(reversed(range(1, count))):
        block = seed + epoch.to_bytes(4, "big") + (drawn // 8).to_bytes(4, "big")
        start = drawn % 8 * 4
        word = int.from_bytes(hashlib.sha256(block).digest()[start : start + 4], "big")
        j = word * (i + 1) // 2**32
        result[i], result[j] = result[j], result[i]
    return result


if __name__ == "__main__":
    main()
