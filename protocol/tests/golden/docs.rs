//! The tables and worked examples of `docs/protocol.md`.

use std::{collections::BTreeMap, fmt::Debug, sync::LazyLock};

use postcard_schema::{
    Schema,
    schema::{DataModelType as Ty, DataModelVariant as Variant, NamedType},
};
use quail_protocol::{
    Close, Code, Lane, Priority, Reject,
    event::EVENTS,
    message::{Ack, BehindCause, KINDS, MessageKind, Signal, SignalKind},
    operation::Schemas,
    room::{AttributesCause, EntryStatus, LeaveCause, LifetimeKind, RestrictionKind, Role, RoomHistory},
    schemas,
    session::{Missed, Platform},
    version,
};

use crate::{files, sample::sample, shape, source, vectors::COMMITTED};

const PAGE: &str = "../docs/protocol.md";
const LIMITS: &str = "src/limits.rs";
const BEGIN: &str = "<!-- generated:";
const VECTOR: &str = "<!-- vector:";
const END: &str = "<!-- end -->";

type Block = (&'static str, fn() -> String);

const BLOCKS: [Block; 11] = [
    ("names", names),
    ("lanes", lanes),
    ("numbers", numbers),
    ("operations", operations),
    ("events", events),
    ("kinds", kinds),
    ("kind-fields", kind_fields),
    ("rejects", rejects),
    ("closes", closes),
    ("fields", fields),
    ("limits", limits),
];

fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line =
        |cells: [String; N]| format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    let rule = format!("|{}\n", "---|".repeat(N));
    [line(head.map(str::to_owned)), rule].into_iter().chain(rows.into_iter().map(line)).collect()
}

fn code(text: impl AsRef<str>) -> String {
    format!("`{}`", text.as_ref())
}

/// Types that stand as their name, because the table of fields explains them.
fn name_of(ty: &'static NamedType) -> Option<&'static str> {
    let plain = match ty.ty {
        Ty::Struct(_) | Ty::Enum(_) | Ty::NewtypeStruct(_) => false,
        Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 => matches!(ty.name, "u8" | "u16" | "u32" | "u64"),
        Ty::String => matches!(ty.name, "String" | "str"),
        _ => true,
    };
    (!plain).then_some(ty.name)
}

fn cell(ty: &'static NamedType) -> String {
    code(format!("{} {}", ty.name, shape::spell(ty, name_of)))
}

fn names() -> String {
    table(
        ["what", "value"],
        [
            ["ALPN of native QUIC".to_owned(), code(String::from_utf8_lossy(version::ALPN))],
            ["WebSocket path".to_owned(), code(version::WEBSOCKET_PATH)],
            ["WebSocket subprotocol".to_owned(), code(version::WEBSOCKET_SUBPROTOCOL)],
            ["revision of the operation set".to_owned(), code(version::REVISION.to_string())],
        ],
    )
}

fn lanes() -> String {
    let rows = Lane::ALL.map(|lane| {
        let priorities = Priority::ALL.into_iter().filter(|priority| priority.lane() == lane);
        let priorities: Vec<_> = priorities.map(|priority| code(format!("{priority:?}"))).collect();
        [code(format!("{:02x}", lane.tag())), format!("{lane:?}"), priorities.join(", ")]
    });
    table(["tag", "lane", "messages of priority"], rows)
}

/// Where an operation's requests travel. The sample's priority is the last one, whose lane is not Control.
fn lane(schemas: &Schemas) -> String {
    match (schemas.lane)(&sample(schemas.request).bytes) {
        Some(Lane::Control) => "Control".to_owned(),
        _ => "by `priority`".to_owned(),
    }
}

fn operations() -> String {
    let rows = schemas().map(|schemas| {
        let info = schemas.info;
        [
            code(info.opcode.to_string()),
            code(info.name),
            format!("{:?}", info.access),
            format!("{:?}", info.class),
            format!("{:?}", info.rate),
            lane(schemas),
            cell(schemas.request),
            cell(schemas.reply),
        ]
    });
    table(["opcode", "name", "access", "class", "rate", "lane", "request", "reply"], rows)
}

fn events() -> String {
    let rows = EVENTS.iter().map(|event| {
        let number = code(format!("0x{:04x}", event.kind.0));
        [number, code(event.name), cell(event.body)]
    });
    table(["number", "name", "body"], rows)
}

fn kinds() -> String {
    let rows = KINDS.iter().map(|schema| {
        let kind = schema.kind;
        let kept = if kind.is_never_kept() { "never" } else { "unless the options say otherwise" };
        [
            kind.number().to_string(),
            code(format!("{kind:?}")),
            format!("{:?}", kind.size_class()),
            format!("{:?}", kind.rate_class()),
            kept.to_owned(),
            cell(schema.body),
        ]
    });
    table(["number", "kind", "size", "rate", "kept", "body"], rows)
}

fn kind_fields() -> String {
    let docs = source::docs();
    let mut rows = Vec::new();
    for schema in KINDS {
        explain(&mut rows, schema.body.name, schema.body, &docs["message"]);
    }
    table(["what", "type", "meaning"], rows)
}

/// Every type that stands as its name somewhere, by that name.
fn named_types() -> BTreeMap<&'static str, &'static NamedType> {
    let mut found = BTreeMap::new();
    let bodies = schemas().flat_map(|schemas| [schemas.request, schemas.reply]);
    for ty in bodies.chain(EVENTS.iter().map(|event| event.body)).chain([Reject::SCHEMA, Signal::SCHEMA]) {
        for part in parts(ty) {
            collect(part, &mut found);
        }
    }
    found
}

fn collect(ty: &'static NamedType, found: &mut BTreeMap<&'static str, &'static NamedType>) {
    if let Some(name) = name_of(ty)
        && let Some(other) = found.insert(name, ty)
    {
        assert_eq!(other, ty, "two types are called {name}");
    }
    for part in parts(ty) {
        collect(part, found);
    }
}

fn parts(ty: &'static NamedType) -> Vec<&'static NamedType> {
    match ty.ty {
        Ty::Option(part) | Ty::NewtypeStruct(part) | Ty::Seq(part) => vec![part],
        Ty::Tuple(parts) | Ty::TupleStruct(parts) => parts.to_vec(),
        Ty::Struct(values) => values.iter().map(|value| value.ty).collect(),
        Ty::Enum(variants) => variants
            .iter()
            .flat_map(|variant| match variant.ty {
                Variant::UnitVariant => Vec::new(),
                Variant::NewtypeVariant(part) => vec![*part],
                Variant::TupleVariant(parts) => parts.to_vec(),
                Variant::StructVariant(values) => values.iter().map(|value| value.ty).collect(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Every struct field with its doc comment: bodies first, under their domain, then the types in them.
fn fields() -> String {
    let docs = source::docs();
    let operations = schemas()
        .flat_map(|schemas| [(schemas.info.name, schemas.request), (schemas.info.name, schemas.reply)]);
    let bodies = operations.chain(EVENTS.iter().map(|event| (event.name, event.body)));
    let named = named_types();
    let mut rows = Vec::new();
    for (name, ty) in bodies.filter(|(_, ty)| !named.contains_key(ty.name)) {
        let (domain, _) = name.split_once('.').unwrap_or((name, ""));
        let Some(docs) = docs.get(domain) else { panic!("{PAGE}: no source file for the domain {domain}") };
        explain(&mut rows, &format!("{domain}::{}", ty.name), ty, docs);
    }
    explain(&mut rows, "message::Signal", Signal::SCHEMA, &docs["message"]);
    for (name, ty) in named {
        let docs = docs.values().find(|docs| docs.contains_key(name));
        explain(
            &mut rows,
            name,
            ty,
            docs.unwrap_or_else(|| panic!("{PAGE}: no source file explains {name}")),
        );
    }
    table(["what", "type", "meaning"], rows)
}

fn explain(rows: &mut Vec<[String; 3]>, label: &str, ty: &'static NamedType, docs: &source::Docs) {
    let doc = docs.get(ty.name).cloned().unwrap_or_default();
    let meaning = |field: &str| docs.get(&format!("{}.{field}", ty.name)).cloned();
    match ty.ty {
        Ty::Struct(values) if values.iter().all(|value| meaning(value.name).is_some()) => {
            rows.push([format!("**{label}**"), String::new(), doc]);
            rows.extend(values.iter().map(|value| {
                let shape = code(shape::text(value.ty, name_of));
                [code(value.name), shape, meaning(value.name).unwrap_or_default()]
            }));
        }
        _ => rows.push([format!("**{label}**"), code(shape::spell(ty, name_of)), doc]),
    }
}

fn open_enum<T: Schema + Debug>(all: &[T], number: impl Fn(&T) -> u64) -> (&'static str, String) {
    let values: Vec<_> = all.iter().map(|value| format!("{} `{value:?}`", number(value))).collect();
    (T::SCHEMA.name, values.join(", "))
}

fn numbers() -> String {
    let tables = BTreeMap::from([
        open_enum(Platform::ALL, |value| value.number().into()),
        open_enum(MessageKind::ALL, |value| value.number().into()),
        open_enum(Ack::ALL, |value| value.number().into()),
        open_enum(BehindCause::ALL, |value| value.number().into()),
        open_enum(AttributesCause::ALL, |value| value.number().into()),
        open_enum(EntryStatus::ALL, |value| value.number().into()),
        open_enum(LeaveCause::ALL, |value| value.number().into()),
        open_enum(LifetimeKind::ALL, |value| value.number().into()),
        open_enum(RoomHistory::ALL, |value| value.number().into()),
        open_enum(RestrictionKind::ALL, |value| value.number().into()),
        open_enum(Role::ALL, |value| value.number().into()),
        open_enum(SignalKind::ALL, |value| value.number().into()),
        open_enum(Missed::ALL, |value| value.number().into()),
        (Code::SCHEMA.name, "see the reject codes".to_owned()),
    ]);
    for (name, ty) in named_types() {
        let open = matches!(ty.ty, Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64);
        assert!(!open || tables.contains_key(name), "{PAGE}: the numbers of {name} are listed nowhere");
    }
    table(["type", "numbers"], tables.into_iter().map(|(name, values)| [code(name), values]))
}

fn rejects() -> String {
    let rows = Code::ALL.iter().map(|reject| {
        let (advice, meaning) = (reject.advice().to_string(), reject.describe().to_owned());
        [
            reject.number().to_string(),
            code(format!("{reject:?}")),
            advice,
            meaning,
            reject.clouds().to_owned(),
        ]
    });
    table(["number", "name", "advice", "meaning", "clouds"], rows)
}

fn closes() -> String {
    let rows = Close::ALL.iter().map(|close| {
        let (back, meaning) = (close.comes_back().to_string(), close.describe().to_owned());
        [close.number().to_string(), code(format!("{close:?}")), back, meaning]
    });
    table(["number", "name", "come back", "meaning"], rows)
}

fn limits() -> String {
    let rows = source::constants(LIMITS).into_iter().map(|(name, expression, doc)| {
        let factors = expression.split(" * ").map(|factor| factor.replace('_', "").parse::<u64>().ok());
        let value = factors.product::<Option<u64>>();
        let value = value.unwrap_or_else(|| panic!("{LIMITS}: {name} is no product of numbers"));
        [code(name), value.to_string(), doc]
    });
    table(["limit", "value", "meaning"], rows)
}

/// The page with every generated block made anew.
fn render(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let Some((name, body)) = after.split_once(" -->\n") else { panic!("{PAGE}: a marker is not closed") };
        let Some((_, after)) = body.split_once(END) else { panic!("{PAGE}: {name} has no {END}") };
        let Some((_, generate)) = BLOCKS.iter().find(|block| block.0 == name) else {
            panic!("{PAGE}: nothing generates {name}")
        };
        out += &format!("{before}{BEGIN}{name} -->\n{}{END}", generate());
        rest = after;
    }
    out + rest
}

/// The page, after it was rewritten if that was asked for.
static COMMITTED_PAGE: LazyLock<String> = LazyLock::new(|| {
    if files::updating() {
        files::write(PAGE, &render(&files::read(PAGE)));
    }
    files::read(PAGE)
});

#[test]
fn the_tables_of_the_page_are_current() {
    let page = &*COMMITTED_PAGE;
    let stale = files::difference(PAGE, &render(page), &format!("Run\n{}", files::UPDATE));
    assert!(stale.is_none(), "{}", stale.unwrap_or_default());
    for (name, _) in BLOCKS {
        assert_eq!(page.matches(&format!("{BEGIN}{name} -->")).count(), 1, "{PAGE}: {name}");
    }
}

/// Reads the hex column of a fenced block: bytes parted by one space, then two spaces and what they mean.
fn hex_column(block: &str) -> String {
    block.lines().filter_map(|line| line.split("  ").next()).flat_map(|bytes| bytes.split(' ')).collect()
}

#[test]
fn the_worked_examples_of_the_page_are_vectors() {
    let page = &*COMMITTED_PAGE;
    let mut checked = 0;
    for after in page.split(VECTOR).skip(1) {
        let (name, text) = after.split_once(" -->\n```text\n").unwrap();
        let (block, _) = text.split_once("\n```").unwrap();
        let vector = COMMITTED.get(name).unwrap_or_else(|| panic!("{PAGE}: no vector is called {name}"));
        assert_eq!(hex_column(block), files::hex(vector), "{PAGE}: {name}");
        checked += 1;
    }
    assert!(checked >= 3, "{PAGE}: the worked examples are gone");
}
