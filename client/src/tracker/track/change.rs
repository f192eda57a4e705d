//! What the app has been told of the changes of one conversation, and what it will not be told of a room.

use quail_protocol::{
    Event, Position, Rev,
    message::{BehindCause, Changed, ChangesPage, Gap, Message},
};

use super::{Held, Note, Ready, Track};

/// Changes that are remembered because they overtook their message; of more of them the oldest go.
const OVERTAKEN_MAX: usize = 64;

impl Track {
    /// Messages of a priority were dropped on the way here: what follows them is next.
    pub(in crate::tracker) fn gap(&mut self, gap: &Gap, out: &mut Ready) {
        let Position { epoch, seq } = gap.through;
        if epoch == self.epoch {
            if self.wanted().is_some() {
                // What was dropped and what was being fetched look alike from here on.
                self.tell_behind(gap.through, BehindCause::SlowReader, out);
            }
            let due = self.held.range(..=seq.0).filter(|(_, held)| held.priority == gap.priority);
            for at in due.map(|(at, _)| *at).collect::<Vec<_>>() {
                if let Some(held) = self.held.remove(&at) {
                    self.tell(at, held, out);
                }
            }
            let told = &mut self.told[gap.priority.index()];
            *told = Some(told.map_or(seq.0, |told| told.max(seq.0)));
            self.release(out);
            self.close_up();
        }
    }

    /// What every priority has come past was told or dropped: no lost connection has it fetched again.
    fn close_up(&mut self) {
        let past = self.told.iter().min().copied().flatten();
        self.through = self.through.max(past.unwrap_or_default());
        self.absorb();
    }

    /// The last change that was told.
    pub(in crate::tracker) fn rev(&self) -> Rev {
        self.rev
    }

    /// Behind which change to fetch.
    pub(in crate::tracker) fn wanted_changes(&self) -> Option<Rev> {
        (self.lacks_changes() || self.suspects).then_some(self.rev)
    }

    /// True if changes are known to be missing.
    pub(in crate::tracker) fn lacks_changes(&self) -> bool {
        self.want_rev > self.rev
    }

    /// Whether changes may be missing that nothing tells of.
    pub(in crate::tracker) fn suspect_changes(&mut self, suspects: bool) {
        self.suspects = suspects;
    }

    /// Changes are left untold, and the app learns of that.
    pub(in crate::tracker) fn give_up_changes(&mut self, out: &mut Ready) {
        if self.lacks_changes() {
            self.rev = self.want_rev;
            self.tell_behind(self.end(), BehindCause::Refused, out);
        }
    }

    /// A message was changed. `own` if no message but the answer to a call tells of it.
    pub(in crate::tracker) fn changed(&mut self, changed: Changed, own: bool, out: &mut Ready) {
        let rev = changed.message.rev;
        // Of another epoch the answer to the cursor says more: where the conversation stands.
        if changed.message.position.epoch != self.epoch || rev <= self.rev && rev > self.first_rev {
            return;
        }
        if changed.prev > self.rev {
            self.want_rev = self.want_rev.max(rev);
        } else {
            self.tell_change(changed, own, out);
        }
    }

    /// This client made the change of this number.
    pub(in crate::tracker) fn own_change(&mut self, rev: Rev) {
        if rev == self.rev.next() {
            self.rev = rev;
        } else {
            self.want_rev = self.want_rev.max(rev);
        }
    }

    /// What was fetched.
    pub(in crate::tracker) fn changes(
        &mut self,
        page: ChangesPage,
        own: impl Fn(&Message) -> bool,
        out: &mut Ready,
    ) {
        if page.head.epoch != self.epoch {
            // What is told of the other epoch says more.
            self.rev = self.rev.max(self.want_rev);
            return;
        }
        for message in page.messages.into_vec() {
            if message.rev > self.rev {
                let own = own(&message);
                self.tell_change(Changed { prev: self.rev, message }, own, out);
            }
        }
        self.rev = self.rev.max(page.rev);
    }

    /// Tells a change, unless its message is still to be told and can say it itself.
    fn tell_change(&mut self, changed: Changed, own: bool, out: &mut Ready) {
        let message = &changed.message;
        self.rev = self.rev.max(message.rev);
        let (seq, told) = (message.position.seq.0, self.told[message.priority.index()]);
        let own = own || self.held.get(&seq).is_some_and(|held| held.message.is_none());
        let comes = !own && seq > self.through && told.is_none_or(|told| seq > told);
        let may_come = told.is_none() && seq <= self.base;
        if comes || may_come {
            self.overtaken.insert(seq, Box::new(message.clone()));
            if self.overtaken.len() > OVERTAKEN_MAX {
                self.overtaken.pop_first();
            }
        }
        if !comes {
            out.tell_with(Event::MessageChanged(changed), || Note::At(self.cursor()));
            self.noted = Some(self.reached());
        }
    }

    /// The message of an entry that is told now, after the changes that overtook it.
    pub(super) fn as_it_is(&mut self, seq: u64, entry: Held) -> Option<Box<Message>> {
        let overtaken = self.overtaken.remove(&seq);
        // What is older on the same lane comes no more.
        self.overtaken.retain(|older, message| message.priority != entry.priority || *older > seq);
        let message = entry.message?;
        Some(overtaken.filter(|changed| changed.rev > message.rev).unwrap_or(message))
    }
}
