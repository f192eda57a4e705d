//! Schemas as text.

use postcard_schema::schema::{DataModelType as Ty, DataModelVariant as Variant, NamedType, NamedValue};

/// Says which types stand as their name instead of being spelled out.
pub(crate) type Naming = fn(&'static NamedType) -> Option<&'static str>;

/// A type on one line: `{a: u8, b: string?, c: [u16], d: [u8; 16], e: One | Two(u8)}`.
///
/// A newtype stands as what it wraps. The type's own name is left out.
pub(crate) fn spell(ty: &'static NamedType, naming: Naming) -> String {
    let inner = |ty| text(ty, naming);
    let list = |types: &'static [&'static NamedType]| types.iter().map(|ty| inner(ty)).collect::<Vec<_>>();
    match ty.ty {
        Ty::Option(some) => format!("{}?", inner(some)),
        Ty::NewtypeStruct(wrapped) => inner(wrapped),
        Ty::Seq(item) => format!("[{}]", inner(item)),
        Ty::Tuple([first, rest @ ..]) if rest.iter().all(|ty| ty == first) => {
            format!("[{}; {}]", inner(first), rest.len() + 1)
        }
        Ty::Tuple(types) | Ty::TupleStruct(types) => format!("({})", list(types).join(", ")),
        Ty::Struct(values) => format!("{{{}}}", fields(values, naming).join(", ")),
        Ty::Enum(variants) => {
            let texts = variants.iter().map(|variant| match variant.ty {
                Variant::UnitVariant => variant.name.to_owned(),
                Variant::NewtypeVariant(ty) => format!("{}({})", variant.name, inner(ty)),
                Variant::TupleVariant(types) => format!("{}({})", variant.name, list(types).join(", ")),
                Variant::StructVariant(values) => {
                    format!("{} {{{}}}", variant.name, fields(values, naming).join(", "))
                }
            });
            texts.collect::<Vec<_>>().join(" | ")
        }
        Ty::ByteArray => "bytes".to_owned(),
        Ty::Unit | Ty::UnitStruct => "nothing".to_owned(),
        ref leaf => format!("{leaf:?}").to_lowercase(),
    }
}

/// As [`spell`], or the name that stands for the type.
pub(crate) fn text(ty: &'static NamedType, naming: Naming) -> String {
    naming(ty).map_or_else(|| spell(ty, naming), str::to_owned)
}

/// The fields of a struct, each as `name: type`; of anything else the type alone.
pub(crate) fn lines(ty: &'static NamedType, naming: Naming) -> Vec<String> {
    match ty.ty {
        Ty::Struct([]) => vec!["nothing".to_owned()],
        Ty::Struct(values) => fields(values, naming),
        _ => vec![spell(ty, naming)],
    }
}

fn fields(values: &'static [&'static NamedValue], naming: Naming) -> Vec<String> {
    values.iter().map(|value| format!("{}: {}", value.name, text(value.ty, naming))).collect()
}
