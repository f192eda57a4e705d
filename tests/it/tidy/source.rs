//! Reads Rust as far as the rules of the house need: code without comments and strings, and the paths it names.

/// `text` with comments and the insides of strings blanked out; lines keep their numbers.
pub(super) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text[i..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !code.ends_with(is_word)) {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = rest.find('"').unwrap_or(0) + 1;
            rest[inside..].find(&end).map_or(rest.len(), |at| inside + at + end.len())
        } else if rest.starts_with('"') {
            string(rest)
        } else if rest.starts_with('\'') {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            let c = rest.chars().next().unwrap_or(' ');
            code.push(c);
            i += c.len_utf8();
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            i += skipped;
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many `#` a raw string at the start of `text` has, if there is one.
fn raw_string(text: &str) -> Option<usize> {
    let behind = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = behind.bytes().take_while(|byte| *byte == b'#').count();
    behind[hashes..].starts_with('"').then_some(hashes)
}

/// Length of the string at the start of `text`.
fn string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut i = 1;
    while i < bytes.len() && bytes[i] != b'"' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(text.len())
}

/// Length of the character at the start of `text`, 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let behind = at + escaped.len_utf8();
            text[behind..].find('\'').map_or(text.len(), |end| behind + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 0,
    }
}

/// Every path that stands in `code`, `use` trees spread out.
pub(super) fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        rest = &rest[start..];
        let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        if word == "use" {
            let end = rest.find(';').unwrap_or(rest.len());
            spread("", rest["use".len()..end].trim(), &mut paths);
            rest = &rest[end..];
            continue;
        }
        let end = rest.find(|c| !is_word(c) && c != ':').unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches(':');
        if path.contains("::") {
            paths.push(path.to_owned());
        }
        rest = &rest[end.max(word.len())..];
    }
    paths
}

fn spread(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((stem, group)) = tree.split_once('{') else {
        let tree = tree.split(" as ").next().unwrap_or(tree).trim_end();
        if !tree.is_empty() {
            paths.push(format!("{prefix}{tree}"));
        }
        return;
    };
    let prefix = format!("{prefix}{stem}");
    let group = group.trim_end();
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spread(&prefix, &group[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    spread(&prefix, &group[start..], paths);
}

/// The names of the modules and types that `code` defines.
pub(super) fn defined(code: &str) -> Vec<&str> {
    let words: Vec<_> = code.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let defines = |word: &str| ["mod", "struct", "enum", "trait", "type", "union"].contains(&word);
    words.windows(2).filter(|pair| defines(pair[0])).map(|pair| pair[1]).collect()
}

/// True if `path` is `prefix` or goes on behind it.
pub(super) fn is_in(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "a(); // b::c\n/* d::e */ f(\"g::h \\\" i\", 'j', '\\'', r#\"k \" l\"#, &'m n);";
    let code = code(text);
    assert_eq!(code.split_whitespace().collect::<String>(), "a();f(,,,,&'mn);");
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn use_trees_are_spread_out() {
    let code = "use std::{sync::Arc as A, net::{IpAddr, SocketAddr}};\nuse bytes::Bytes as B;\nfn f() -> quinn::Endpoint { x.y() }";
    let expected =
        ["std::sync::Arc", "std::net::IpAddr", "std::net::SocketAddr", "bytes::Bytes", "quinn::Endpoint"];
    assert_eq!(paths(code), expected);
}
