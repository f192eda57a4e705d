//! The kinds of messages, and how each is bounded.

use crate::open::open_enum;

open_enum! {
    /// What a message is; says how its body is read and which limits hold. ZIM calls it `ZIMMessageType`.
    MessageKind: u16 {
        /// [`Text`](super::Text).
        Text = 1,
        /// [`Command`](super::Command): best effort, never kept.
        Command = 2,
        /// [`Image`](super::Image).
        Image = 11,
        /// [`File`](super::File).
        File = 12,
        /// [`Voice`](super::Voice).
        Voice = 13,
        /// [`Video`](super::Video).
        Video = 14,
        /// [`Location`](super::Location).
        Location = 15,
        /// [`RichContent`](super::RichContent).
        RichContent = 16,
        /// [`Barrage`](super::Barrage): rooms only, may be dropped, never kept.
        Barrage = 20,
        /// [`InformationNotice`](super::InformationNotice).
        InformationNotice = 41,
        /// [`DiscussionNotice`](super::DiscussionNotice).
        DiscussionNotice = 42,
        /// [`ContactNotice`](super::ContactNotice).
        ContactNotice = 43,
        /// [`ProfileNotice`](super::ProfileNotice).
        ProfileNotice = 44,
        /// [`CommandNotice`](super::CommandNotice).
        CommandNotice = 45,
        /// [`Custom`](super::Custom).
        Custom = 200,
    }
}

/// Kinds that share a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RateClass {
    /// Text.
    Text,
    /// Custom and all structured kinds, those of later builds included.
    Custom,
    /// Command.
    Command,
    /// Barrage.
    Barrage,
}

/// Kinds that share a bound of their body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    /// Text.
    Text,
    /// Image and Voice, which hold a thumbnail or a clip.
    Media,
    /// Custom and the other structured kinds, those of later builds included.
    Custom,
    /// Command.
    Command,
    /// Barrage.
    Barrage,
}

impl MessageKind {
    /// Which rate holds.
    pub const fn rate_class(self) -> RateClass {
        match self {
            Self::Text => RateClass::Text,
            Self::Command => RateClass::Command,
            Self::Barrage => RateClass::Barrage,
            _ => RateClass::Custom,
        }
    }

    /// Which bound of the body holds.
    pub const fn size_class(self) -> SizeClass {
        match self {
            Self::Text => SizeClass::Text,
            Self::Image | Self::Voice => SizeClass::Media,
            Self::Command => SizeClass::Command,
            Self::Barrage => SizeClass::Barrage,
            _ => SizeClass::Custom,
        }
    }

    /// True for kinds that get no number and are in no history.
    pub const fn is_never_kept(self) -> bool {
        matches!(self, Self::Command | Self::Barrage)
    }
}
