"""Writes the golden vectors: bytes as real Python packs them, and what they mean.

    python3 -m venv venv
    venv/bin/pip install msgpack==1.2.4 u-msgpack-python==2.8.0 msgpack-numpy==0.4.8 numpy==2.4.6
    venv/bin/python generate.py          # in this folder; rewrites msgpack.jsonl and numpy.jsonl

One JSON object per line: `name`, `hex` (with `61*300` for a run of 300 equal bytes), `value`, and `same` = whether our encoder must
give these very bytes back (false for forms that Python reads but would not write itself).

Values: null, booleans, integers and text are themselves; {"f64": bits}, {"f32": bits}, {"bin": hex}, {"raw": hex} (str that is not
UTF-8), {"ext": [type, hex]}, arrays are arrays, {"map": [[key, value], ...]}; {"times": [value, n]} is an array of equal items, and
{"text": [piece, n]} long text. In numpy.jsonl: {"array": [dtype, shape, hex]}, {"scalar": [dtype, hex]}, {"record": [[name, dtype, offset], ...],
"shape": ..., "data": hex}, {"complex": [bits, bits]}, {"f64": bits}, {"refused": word}, {"plain": true} (a map, not an array).
"""
import json
import struct

import msgpack
import msgpack_numpy
import numpy as np
import umsgpack


def runs(data):
    out, i = [], 0
    while i < len(data):
        j = i
        while j < len(data) and data[j] == data[i]:
            j += 1
        if j - i > 16:
            out.append(f" {data[i]:02x}*{j - i} ")
        else:
            out.append(data[i:j].hex())
        i = j
    return "".join(out).strip()


def f64(x):
    return struct.pack(">d", x).hex()


def describe(v):
    if isinstance(v, bool) or v is None or isinstance(v, int):
        return v
    if isinstance(v, float):
        return {"f64": f64(v)}
    if isinstance(v, str):
        return {"text": [v[0], len(v)]} if len(v) > 64 and v == v[0] * len(v) else v
    if isinstance(v, bytes):
        return {"bin": runs(v)}
    if isinstance(v, msgpack.ExtType):
        return {"ext": [v.code, runs(v.data)]}
    if isinstance(v, msgpack.Timestamp):
        return {"ext": [-1, v.to_bytes().hex()]}
    if isinstance(v, (list, tuple)):
        if len(v) > 32 and all(x == v[0] for x in v):
            return {"times": [describe(v[0]), len(v)]}
        return [describe(x) for x in v]
    return {"map": [[describe(k), describe(x)] for k, x in v.items()]}


def line(name, data, value, same=True):
    return json.dumps({"name": name, "hex": runs(data), "value": value, "same": same}, separators=(",", ":"))


def plain():
    cases = [("nil", None), ("false", False), ("true", True)]
    borders = [0, 1, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1,
               -1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)]
    cases += [(f"int {n}", n) for n in borders]
    cases += [(f"float {x}", x) for x in
              [0.0, -0.0, 1.0, 1.5, -0.1, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan")]]
    cases += [(f"str of {n}", "a" * n) for n in [0, 1, 31, 32, 255, 256, 65535, 65536]]
    cases += [("str with accents", "größe ☃ 😀"), ("str with nul and quote", "a\0\"\\\n")]
    cases += [(f"bin of {n}", b"\x07" * n) for n in [0, 1, 255, 256, 65535, 65536]]
    cases += [("bin not utf-8", b"\0\x01\xff\xfe")]
    cases += [(f"ext of {n}", msgpack.ExtType(5, b"\x09" * n)) for n in [0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 255, 256, 65535, 65536]]
    cases += [("ext type 127", msgpack.ExtType(127, b"x")), ("ext type 0", msgpack.ExtType(0, b"x"))]
    cases += [("timestamp 32", msgpack.Timestamp(1_700_000_000, 0)), ("timestamp 64", msgpack.Timestamp(1_700_000_000, 123_456_789)),
              ("timestamp 96", msgpack.Timestamp(-1, 999_999_999))]
    cases += [(f"array of {n}", [1] * n) for n in [0, 1, 15, 16, 65535, 65536]]
    cases += [(f"map of {n}", {f"k{i}": i for i in range(n)}) for n in [0, 1, 15, 16, 300]]
    cases += [("tuple", (1, "two", 3.0)), ("mixed list", [1, -1, 300, 70000, 2**40, None, True, "x", b"y", 1.5])]
    cases += [("banyan message", {"message_number": 10}), ("banyan reply", {"message": "got it", "id": "b"})]
    cases += [("onegpio report", {"report": "analog_input", "pin": 3, "value": 1023, "timestamp": "2024-01-01 00:00:00"})]
    cases += [("nested", {"a": {"b": [{"c": [[], {}, [None]]}, {"": ""}]}, "d": [1, [2, [3, [4, [5]]]]]})]
    cases += [("bytes keys", {b"k": 1, "k": 2})]
    deep = []
    for _ in range(99):
        deep = [deep]
    cases += [("100 levels", deep)]
    for name, value in cases:
        data = msgpack.packb(value, use_bin_type=True)
        if not isinstance(value, (msgpack.Timestamp, msgpack.ExtType)) and name != "bytes keys":
            assert data == umsgpack.packb(value), name
        elif isinstance(value, msgpack.ExtType):
            assert data == umsgpack.packb(umsgpack.Ext(value.code, value.data)), name
        yield line(name, data, describe(value))
    # What Python reads but would not write.
    yield line("float32 1.5", msgpack.packb(1.5, use_single_float=True), {"f32": struct.pack(">f", 1.5).hex()})
    yield line("float32 0.1", msgpack.packb(0.1, use_single_float=True), {"f32": struct.pack(">f", 0.1).hex()})
    yield line("old raw text of 32", msgpack.packb("a" * 32, use_bin_type=False), "a" * 32, same=False)
    yield line("old raw bytes in str", msgpack.packb(b"\xff\xfe", use_bin_type=False), {"raw": "fffe"})
    old = msgpack.packb({"data": b"\x80" * 40}, use_bin_type=False)
    yield line("old map with raw16", old, {"map": [["data", {"raw": " 80*40 "}]]}, same=False)
    for name, data, value in [
        ("wide 5 as uint8", "cc05", 5), ("wide 5 as uint16", "cd0005", 5), ("wide 5 as uint32", "ce00000005", 5),
        ("wide 5 as uint64", "cf0000000000000005", 5), ("wide 5 as int8", "d005", 5), ("wide 5 as int16", "d10005", 5),
        ("wide 5 as int32", "d200000005", 5), ("wide 5 as int64", "d30000000000000005", 5),
        ("wide -1 as int8", "d0ff", -1), ("wide -1 as int64", "d3ffffffffffffffff", -1),
        ("wide str8", "d90161", "a"), ("wide str16", "da000161", "a"), ("wide str32", "db0000000161", "a"),
        ("wide bin16", "c5000161", {"bin": "61"}), ("wide bin32", "c60000000161", {"bin": "61"}),
        ("wide array16", "dc000101", [1]), ("wide array32", "dd0000000101", [1]),
        ("wide map16", "de0001a16101", {"map": [["a", 1]]}), ("wide map32", "df00000001a16101", {"map": [["a", 1]]}),
        ("wide ext8 of 1", "c7010561", {"ext": [5, "61"]}), ("wide ext32", "c9000000010561", {"ext": [5, "61"]}),
    ]:
        raw = bytes.fromhex(data)
        got = msgpack.unpackb(raw, ext_hook=msgpack.ExtType)
        assert describe(got) == value, name
        yield line(name, raw, value, same=False)
    twice = bytes.fromhex("82a16101a16102")
    assert msgpack.unpackb(twice) == {"a": 2}
    yield line("key twice", twice, {"map": [["a", 1], ["a", 2]]})


def arrays():
    def array(name, a):
        data = msgpack.packb(a, default=msgpack_numpy.encode)
        return line(name, data, {"array": [a.dtype.str, list(a.shape), runs(a.tobytes())]})

    for dtype in ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "|u1", "<u2", "<u4", "<u8", ">i2", ">f8", ">u4"]:
        yield array(f"array {dtype}", np.array([0, 1, 2, 100], dtype=dtype))
    yield array("array |b1", np.array([True, False, True]))
    yield array("array <c16", np.array([1 + 2j, -0.5j]))
    yield array("array <c8", np.array([1 + 2j, -0.5j], dtype="<c8"))
    yield array("array >c16", np.array([1 + 2j], dtype=">c16"))
    yield array("array <U2", np.array(["a", "bc", "é"], dtype="<U2"))
    yield array("array >U2", np.array(["a", "bc"], dtype=">U2"))
    yield array("array |S2", np.array([b"a", b"bc"]))
    yield array("array |S0", np.array([], dtype="|S0"))
    # Only zeros: the padding of any other long double is whatever memory held.
    yield array("array longdouble", np.zeros(2, dtype="<f16"))
    yield array("array 0-d", np.array(7))
    yield array("array empty", np.zeros((0, 3)))
    yield array("array 2x3", np.arange(6).reshape(2, 3))
    yield array("array 5-d", np.arange(32, dtype="<i2").reshape(2, 2, 2, 2, 2))
    yield array("array fortran", np.asfortranarray(np.arange(6).reshape(2, 3)))
    yield array("array strided", np.arange(20)[::3])
    yield array("array transposed", np.arange(6, dtype="<f4").reshape(2, 3).T)
    yield array("array of 300", np.zeros(300, dtype="|u1"))
    yield array("array of 70000", np.zeros(70000, dtype="|u1"))

    def record(name, dtype, a):
        fields = [[n, None if dtype[n].names else dtype[n].base.str, dtype.fields[n][1]] for n in dtype.names]
        value = {"record": fields, "shape": list(a.shape), "data": runs(a.tobytes())}
        return line(name, msgpack.packb(a, default=msgpack_numpy.encode), value, same=False)

    point = np.dtype([("x", "<f8"), ("y", "<f8"), ("id", "<i4")])
    yield record("structured", point, np.array([(1, 2, 3), (4, 5, 6)], dtype=point))
    inner = np.dtype([("where", [("x", "<i2"), ("y", "<i2")]), ("name", "|S4")])
    yield record("structured nested", inner, np.array([((1, 2), b"ab")], dtype=inner))
    sub = np.dtype([("m", "<f4", (2, 2)), ("n", "<u1")])
    yield record("structured sub-array", sub, np.array([([[1, 2], [3, 4]], 5)], dtype=sub))
    padded = np.dtype([("a", "u1"), ("b", "<i4")], align=True)
    a = np.zeros(2, dtype=padded)
    value = {"record": [["a", "|u1", 0], ["", "|V3", 1], ["b", "<i4", 4]], "shape": [2], "data": runs(a.tobytes())}
    yield line("structured padded", msgpack.packb(a, default=msgpack_numpy.encode), value, same=False)
    yield line("object", msgpack.packb(np.array([{"a": 1}, None], dtype=object), default=msgpack_numpy.encode),
               {"refused": "pickle"}, same=False)
    mixed = np.zeros(1, dtype=[("a", "O")])
    data = msgpack.packb({b"nd": True, b"type": mixed.dtype.descr, b"kind": b"V", b"shape": [1], b"data": b"\0" * 8})
    yield line("structured with an object", data, {"refused": "pickle"}, same=False)

    behind = {b"nd": True, b"type": "<i2", b"kind": b"O", b"shape": [2], b"data": b"\x01\0\x02\0"}
    yield line("pickle behind an honest dtype", msgpack.packb(behind), {"refused": "pickle"}, same=False)

    for s in [np.float32(1.5), np.float16(1.5), np.int8(-1), np.int16(-2), np.int32(-3), np.int64(-4), np.uint8(200), np.uint16(5),
              np.uint32(6), np.uint64(7), np.bool_(True), np.complex64(1 + 2j)]:
        data = msgpack.packb(s, default=msgpack_numpy.encode)
        yield line(f"scalar {s.dtype.str}", data, {"scalar": [s.dtype.str, s.tobytes().hex()]}, same=s.dtype.str != "<f2")
    yield line("scalar float64", msgpack.packb(np.float64(1.5), default=msgpack_numpy.encode), {"f64": f64(1.5)})
    for c in [0j, 1 + 2j, -1 - 2j, 2j, -2j, complex(-0.0, 1), complex(0, -0.0), complex(1, -0.0), 1.5 + 0j, 1e-5 + 1e16j, 1e15 - 1e-4j,
              1.25e300 - 5e-324j, complex("nan+infj"), complex("-inf-infj"), complex("1+nanj"), complex("infj"),
              123456789012345680.0 + 0.1j, 1e100 + 1e-100j]:
        data = msgpack.packb(c, default=msgpack_numpy.encode)
        yield line(f"complex {c!r}", data, {"complex": [f64(c.real), f64(c.imag)]})

    good = {b"nd": True, b"type": "<i2", b"shape": [2], b"data": b"\x01\0\x02\0"}
    assert (msgpack.unpackb(msgpack.packb(good), object_hook=msgpack_numpy.decode) == [1, 2]).all()
    yield line("no kind", msgpack.packb(good), {"array": ["<i2", [2], "01000200"]}, same=False)
    old = dict(good, **{})
    old[b"type"] = b"<i2"
    assert (msgpack.unpackb(msgpack.packb(old), object_hook=msgpack_numpy.decode) == [1, 2]).all()
    yield line("type as bytes", msgpack.packb(old), {"array": ["<i2", [2], "01000200"]}, same=False)
    text = {k.decode(): v for k, v in good.items()}
    assert msgpack.unpackb(msgpack.packb(text), object_hook=msgpack_numpy.decode) == text
    yield line("text keys", msgpack.packb(text), {"plain": True}, same=False)
    for missing in [b"type", b"shape", b"data"]:
        less = {k: v for k, v in good.items() if k != missing}
        assert msgpack.unpackb(msgpack.packb(less), object_hook=msgpack_numpy.decode) == less
        yield line(f"no {missing.decode()}", msgpack.packb(less), {"plain": True}, same=False)
    for name, change in [("data short", {b"data": b"\x01\0\x02"}), ("data long", {b"data": b"\x01\0\x02\0\x03"}),
                         ("shape overflows", {b"shape": [2**62, 2**62]}), ("shape negative", {b"shape": [-1]}),
                         ("shape not an array", {b"shape": 2}), ("dtype unknown", {b"type": "<q9"}), ("dtype a time", {b"type": "<M8[ns]"}),
                         ("dtype too large", {b"type": "<U4611686018427387904"}), ("dtype a number", {b"type": 5}),
                         ("dtype an empty field", {b"type": [[]], b"kind": b"V"}), ("data text", {b"data": "ab"})]:
        yield line(name, msgpack.packb(dict(good, **{}) | change), {"refused": name}, same=False)


for path, lines in [("msgpack.jsonl", plain()), ("numpy.jsonl", arrays())]:
    with open(path, "w") as out:
        for text in lines:
            out.write(text + "\n")
