//! What a session goes through: its state, its requests and its outbox, each under any sequence of what can happen.

mod outbox;
mod requests;
mod state;

/// Bytes as a sequence of choices.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

/// The first byte chooses the part, the rest is what happens to it.
pub fn session(data: &[u8]) {
    let [part, happens @ ..] = data else { return };
    let choices = Choices(happens);
    match part % 3 {
        0 => state::run(choices),
        1 => requests::run(choices),
        _ => outbox::run(choices),
    }
}
