//! Numbers that may be missing: JSON knows no infinity and nothing that is no number, and writes both as `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A number as it is read.
#[derive(Clone, Copy, Debug)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|number: Option<f64>| Self(number.unwrap_or(f64::NAN)))
    }
}

/// Reads one.
pub(crate) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Number::deserialize(deserializer).map(|number| number.0)
}

/// Reads a list of them.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers = Vec::<Number>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.0).collect())
}

/// Reads them by name.
pub(crate) fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let numbers = BTreeMap::<String, Number>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|(name, number)| (name, number.0)).collect())
}

/// About four digits.
pub(crate) fn rounded(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ if value.is_nan() => "none".to_owned(),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_about_four_digits() {
        for (value, text) in [(12345.6, "12346"), (12.34, "12.3"), (0.1234, "0.123"), (f64::NAN, "none")] {
            assert_eq!(rounded(value), text);
        }
    }

    #[test]
    fn what_is_no_number_is_read_back_as_such() {
        let text = serde_json::to_string(&[1.0, f64::NAN, f64::INFINITY]).unwrap();
        let back = list(&mut serde_json::Deserializer::from_str(&text)).unwrap();
        assert!(back[0] == 1.0 && back[1].is_nan() && back[2].is_nan(), "{back:?}");
    }
}
