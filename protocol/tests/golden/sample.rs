//! A value of any schema, written as postcard bytes, so that a new operation has its vector by itself.

use postcard_schema::schema::{DataModelType as Ty, DataModelVariant as Variant, NamedType, NamedValue};

/// A value as bytes and as text.
#[derive(Default)]
pub(crate) struct Sample {
    /// Its postcard bytes.
    pub(crate) bytes: Vec<u8>,
    /// What they say.
    pub(crate) text: String,
    counter: u8,
}

/// Writes a value in which no two fields are alike, so that swapped fields show: numbers and texts come from one
/// counter, options are there, lists have two items, enums their last variant.
pub(crate) fn sample(ty: &'static NamedType) -> Sample {
    let mut sample = Sample::default();
    sample.value("value", ty);
    sample
}

impl Sample {
    fn next(&mut self) -> u8 {
        self.counter =
            self.counter.checked_add(1).unwrap_or_else(|| panic!("more than 255 leaves in one schema"));
        self.counter
    }

    fn value(&mut self, field: &str, ty: &'static NamedType) {
        match ty.ty {
            Ty::Bool => self.leaf(&[1], "true"),
            Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 => self.unsigned(ty.ty),
            Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 => self.signed(ty.ty),
            Ty::String => {
                let text = format!("{field}-{}", self.next());
                self.varint(text.len() as u64);
                self.leaf(text.as_bytes(), &format!("{text:?}"));
            }
            Ty::ByteArray => {
                let bytes = [self.next(), self.next(), self.next()];
                self.varint(bytes.len() as u64);
                self.leaf(&bytes, &format!("0x{}", crate::files::hex(&bytes)));
            }
            Ty::Unit | Ty::UnitStruct => self.text.push_str("nothing"),
            Ty::Option(some) => {
                self.bytes.push(1);
                self.value(field, some);
            }
            Ty::NewtypeStruct(wrapped) => self.value(field, wrapped),
            Ty::Seq(item) => {
                self.varint(2);
                self.list(field, &[item, item]);
            }
            Ty::Tuple(items) if items.iter().all(|item| *item.ty == Ty::U8) => {
                let bytes: Vec<_> = items.iter().map(|_| self.next()).collect();
                self.leaf(&bytes, &format!("0x{}", crate::files::hex(&bytes)));
            }
            Ty::Tuple(items) | Ty::TupleStruct(items) => self.list(field, items),
            Ty::Struct(values) => self.fields(values, ty.name == "Conversation"),
            Ty::Enum(variants) => {
                let Some(last) = variants.last() else { panic!("{} has no variant", ty.name) };
                self.varint(variants.len() as u64 - 1);
                self.text.push_str(last.name);
                match last.ty {
                    Variant::UnitVariant => {}
                    Variant::NewtypeVariant(inner) => self.value(field, inner),
                    Variant::TupleVariant(items) => self.list(field, items),
                    Variant::StructVariant(values) => self.fields(values, false),
                }
            }
            ref other => panic!("{field}: {other:?} has no place on this wire"),
        }
    }

    fn fields(&mut self, values: &'static [&'static NamedValue], conversation: bool) {
        self.text.push('{');
        for (i, value) in values.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            self.text.push_str(&format!("{separator}{}: ", value.name));
            if conversation && value.name == "kind" {
                let kind = 1 + self.next() % 3;
                self.leaf(&[kind], &kind.to_string());
            } else {
                self.value(value.name, value.ty);
            }
        }
        self.text.push('}');
    }

    fn list(&mut self, field: &str, items: &[&'static NamedType]) {
        self.text.push('[');
        for (i, item) in items.iter().enumerate() {
            self.text.push_str(if i == 0 { "" } else { ", " });
            self.value(field, item);
        }
        self.text.push(']');
    }

    fn unsigned(&mut self, ty: &Ty) {
        let n = u64::from(self.next());
        // Wider types get larger numbers, so that their varints take more than one byte. All stay below 2^53.
        let value = match ty {
            Ty::U8 => n,
            Ty::U16 => 1_000 + n,
            Ty::U32 => 100_000 + n,
            _ => 10_000_000_000 + n,
        };
        match u8::try_from(value) {
            Ok(byte) if *ty == Ty::U8 => self.bytes.push(byte),
            _ => self.varint(value),
        }
        self.text.push_str(&value.to_string());
    }

    fn signed(&mut self, ty: &Ty) {
        let n = self.next() % 128;
        if *ty == Ty::I8 {
            self.bytes.push(n.wrapping_neg());
        } else {
            self.varint(2 * u64::from(n) - 1);
        }
        self.text.push_str(&format!("-{n}"));
    }

    fn leaf(&mut self, bytes: &[u8], text: &str) {
        self.bytes.extend_from_slice(bytes);
        self.text.push_str(text);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
