//! How many rooms there are, and may be.

use std::collections::BTreeMap;

use quail_protocol::{
    Code,
    id::{AppId, UserId},
};

use crate::apps;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_app: BTreeMap<AppId, usize>,
    by_maker: BTreeMap<(AppId, UserId), usize>,
}

impl Counts {
    /// Counts one more, if there may be one more.
    pub(super) fn add(&mut self, app: &AppId, config: &apps::Rooms, maker: &UserId) -> Result<(), Code> {
        let in_app = self.by_app.entry(app.clone()).or_default();
        if *in_app >= config.per_app {
            return Err(Code::AppRoomsFull);
        }
        let maker = (app.clone(), maker.clone());
        let made = self.by_maker.get(&maker).copied().unwrap_or_default();
        if made >= config.made_per_user {
            return Err(Code::TooManyRooms);
        }
        *in_app += 1;
        self.by_maker.insert(maker, made + 1);
        Ok(())
    }

    /// Counts one that was there before the server started.
    pub(super) fn restore(&mut self, app: &AppId, maker: &UserId) {
        *self.by_app.entry(app.clone()).or_default() += 1;
        *self.by_maker.entry((app.clone(), maker.clone())).or_default() += 1;
    }

    pub(super) fn remove(&mut self, app: &AppId, maker: &UserId) {
        if let Some(count) = self.by_app.get_mut(app) {
            *count = count.saturating_sub(1);
        }
        let maker = (app.clone(), maker.clone());
        match self.by_maker.get_mut(&maker) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.by_maker.remove(&maker),
        }
    }
}
