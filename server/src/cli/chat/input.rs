//! What somebody types.

use quail_client::Priority;
use quail_protocol::{
    Seq,
    bounded::{Blob, Text, TooLong},
    id::RoomId,
    message::{Command, Custom, File, Image, Location},
};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Nothing.
    Nothing,
    /// Leave.
    Quit,
    /// Say what can be asked for.
    Help,
    /// Send a text.
    Text(Priority, String),
    /// Send something else.
    Send(Box<Outgoing>),
    /// Take a message back, the last one unless a number is given.
    Recall(Option<Seq>),
    /// Show so many of the newest messages.
    History(u64),
    /// Show how many messages are unread, and where.
    Unread,
    /// Signal that the user is writing.
    Typing,
    /// Come into a room: lines go there then.
    Enter(RoomId),
    /// Leave it: lines go to the other user again.
    Leave,
}

/// A message that is no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// An order.
    Command(Command),
    /// What an app defines.
    Custom(Custom),
    /// A file.
    File(File),
    /// A picture.
    Image(Image),
    /// A place.
    Location(Location),
}

/// What `/help` says.
pub(super) const HELP: &str = "\
/high TEXT, /low TEXT       a text that is more urgent, or less
/command NAME DATA          an order that nobody keeps
/custom TYPE DATA           a message of your own kind
/file NAME URL, /image URL  something that is kept elsewhere
/location LAT LON TITLE     a place
/recall [NUMBER]            take back your last message, or another
/history [COUNT]            the newest messages, 10 unless said otherwise
/unread                     how many messages wait for you, and where
/typing                     tell that you are writing
/enter ROOM, /leave         lines go to everybody in a room, or to the other user again
/quit                       leave";

impl Input {
    /// Reads a line. The error says what is wrong with it.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return Ok(match line {
                "" => Self::Nothing,
                text => Self::Text(Priority::Normal, text.to_owned()),
            });
        };
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        Ok(match verb {
            "quit" => Self::Quit,
            "help" => Self::Help,
            "high" => Self::Text(Priority::High, some(rest, "a text")?.to_owned()),
            "low" => Self::Text(Priority::Low, some(rest, "a text")?.to_owned()),
            "recall" if rest.is_empty() => Self::Recall(None),
            "recall" => Self::Recall(Some(Seq(number(rest)?))),
            "history" if rest.is_empty() => Self::History(10),
            "history" => Self::History(number(rest)?),
            "unread" => Self::Unread,
            "typing" => Self::Typing,
            "enter" => Self::Enter(RoomId::new(some(rest, "a room")?).map_err(|error| error.to_string())?),
            "leave" => Self::Leave,
            "command" | "custom" | "file" | "image" | "location" => {
                Self::Send(Box::new(Outgoing::parse(verb, rest)?))
            }
            other => return Err(format!("/{other} is not known; /help lists what is")),
        })
    }
}

impl Outgoing {
    fn parse(verb: &str, rest: &str) -> Result<Self, String> {
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let (first, second) = (some(first, "more words")?, second.trim());
        Ok(match verb {
            "command" => Self::Command(Command { name: text(first)?, data: data(second)? }),
            "custom" => Self::Custom(Custom { type_name: text(first)?, subtype: 0, data: data(second)? }),
            "file" => {
                let (name, url) = (text(first)?, text(some(second, "a URL")?)?);
                Self::File(File { name, url, media_type: Text::default(), size: 0 })
            }
            "image" => {
                let url = text(first)?;
                Self::Image(Image { thumbnail: Default::default(), url, width: 0, height: 0, size: 0 })
            }
            _ => {
                let (longitude, title) = second.split_once(' ').unwrap_or((second, ""));
                Self::Location(Location {
                    latitude_e7: degrees(first, 90.0)?,
                    longitude_e7: degrees(longitude, 180.0)?,
                    title: text(title)?,
                    thumbnail: Default::default(),
                })
            }
        })
    }
}

fn data<const MAX: usize>(text: &str) -> Result<Blob<MAX>, String> {
    Blob::new(text.as_bytes().to_vec()).map_err(long)
}

fn text<const MAX: usize>(text: &str) -> Result<Text<MAX>, String> {
    Text::new(text).map_err(long)
}

fn long(too_long: TooLong) -> String {
    format!("that is {too_long} bytes")
}

fn some<'a>(text: &'a str, what: &str) -> Result<&'a str, String> {
    if text.is_empty() { Err(format!("{what} must follow")) } else { Ok(text) }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

/// Degrees times ten million.
fn degrees(text: &str, most: f64) -> Result<i32, String> {
    let degrees: f64 = text.parse().map_err(|_| format!("{text:?} are no degrees"))?;
    // No number is not below anything.
    if degrees.abs() <= most {
        Ok((degrees * 1e7).round() as i32)
    } else {
        Err(format!("{text} degrees are nowhere"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_text_unless_it_begins_with_a_slash() {
        for (line, expected) in [
            ("  ", Input::Nothing),
            (" hi ", Input::Text(Priority::Normal, "hi".into())),
            ("/quit", Input::Quit),
            ("/high come", Input::Text(Priority::High, "come".into())),
            ("/recall", Input::Recall(None)),
            ("/recall 7", Input::Recall(Some(Seq(7)))),
            ("/history", Input::History(10)),
            ("/history 3", Input::History(3)),
            ("/typing", Input::Typing),
            ("/enter lobby", Input::Enter(RoomId::new("lobby").unwrap())),
            ("/leave", Input::Leave),
        ] {
            assert_eq!(Input::parse(line), Ok(expected), "{line}");
        }
        for line in [
            "/nonsense",
            "/enter",
            "/enter a b",
            "/high",
            "/recall x",
            "/location 91 0",
            "/location NaN 0",
            "/file a",
            "/custom",
        ] {
            assert!(Input::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_place_is_typed_in_degrees() {
        let Ok(Input::Send(sent)) = Input::parse("/location 48.1372 11.5755 Old Town Hall") else { panic!() };
        let Outgoing::Location(location) = *sent else { panic!() };
        assert_eq!((location.latitude_e7, location.longitude_e7), (481_372_000, 115_755_000));
        assert_eq!(location.title.as_str(), "Old Town Hall");
    }
}
