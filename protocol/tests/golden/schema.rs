//! The shape of every body and a hash of it.

use std::fmt::Write as _;

use postcard_schema::{Schema, schema::NamedType};
use quail_protocol::{Reject, event::EVENTS, message, schemas};

use crate::shape;

const HEADER: &str = "\
# The shape of every body on the wire. Written by `UPDATE=1 cargo test -p quail-protocol`, never by hand.
#
# Opcode or event number, name, hash, then the fields in the order of their bytes. Names of types are not on the wire
# and do not count; names of fields and variants do, because they say what the bytes mean.
# string, bytes and [list] begin with a varint count; ? may be absent; u16 to u64 are varints, u8 is one byte;
# [u8; 16] is 16 bytes without a count; A | B is a varint from 0.
# The hash is FNV-1a, 64 bits, over the indented lines as they stand here, each with its newline.
";

/// The text of `schema.txt`.
pub(crate) fn text() -> String {
    let mut out = HEADER.to_owned();
    for schemas in schemas() {
        let title = format!("{} {}", schemas.info.opcode, schemas.info.name);
        entry(&mut out, &title, &[("request", schemas.request), ("reply", schemas.reply)]);
    }
    for event in EVENTS {
        entry(&mut out, &format!("0x{:04x} {} (event)", event.kind.0, event.name), &[("body", event.body)]);
    }
    entry(&mut out, "reject", &[("in the head", Reject::SCHEMA)]);
    entry(&mut out, "signal", &[("body", message::Signal::SCHEMA)]);
    for schema in message::KINDS {
        let title = format!("message kind {} {:?}", schema.kind.number(), schema.kind);
        entry(&mut out, &title, &[("body", schema.body)]);
    }
    out
}

fn entry(out: &mut String, title: &str, parts: &[(&str, &'static NamedType)]) {
    let mut shape = String::new();
    for (part, ty) in parts {
        shape += &format!("  {part}\n");
        for line in shape::lines(ty, |_| None) {
            shape += &format!("    {line}\n");
        }
    }
    _ = write!(out, "\n{title} {:016x}\n{shape}", fnv1a(shape.as_bytes()));
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[test]
fn the_hash_is_the_documented_one() {
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}
