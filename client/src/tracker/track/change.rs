//! What the app has been told of the changes of one conversation, and what it will not be told of a room.

use quail_protocol::{
    Event, Position, Rev,
    message::{Changed, ChangesPage, Gap},
};

use super::{Note, Ready, Track};

impl Track {
    /// Messages of a priority were dropped on the way here: what follows them is next.
    pub(in crate::tracker) fn gap(&mut self, gap: &Gap, out: &mut Ready) {
        let Position { epoch, seq } = gap.through;
        if epoch == self.epoch {
            let told = &mut self.told[gap.priority.index()];
            *told = Some(told.map_or(seq.0, |told| told.max(seq.0)));
            self.release(out);
        }
    }

    /// The last change that was told.
    pub(in crate::tracker) fn rev(&self) -> Rev {
        self.rev
    }

    /// Behind which change to fetch.
    pub(in crate::tracker) fn wanted_changes(&self) -> Option<Rev> {
        (self.want_rev > self.rev).then_some(self.rev)
    }

    /// Changes are left untold.
    pub(in crate::tracker) fn give_up_changes(&mut self) {
        self.rev = self.rev.max(self.want_rev);
    }

    /// A message was changed.
    pub(in crate::tracker) fn changed(&mut self, changed: Changed, out: &mut Ready) {
        let (position, rev) = (changed.message.position, changed.message.rev);
        if position.epoch > self.epoch {
            self.begin_again(position, changed.prev, out);
        }
        if position.epoch < self.epoch || rev <= self.rev {
            return;
        }
        if changed.prev > self.rev {
            self.want_rev = self.want_rev.max(rev);
        } else {
            self.tell_change(changed, out);
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

    /// What was fetched. True if it brought this any further.
    pub(in crate::tracker) fn changes(&mut self, page: ChangesPage, out: &mut Ready) -> bool {
        let before = self.rev;
        if page.head.epoch != self.epoch {
            // What is told of the other epoch says more.
            self.give_up_changes();
            return true;
        }
        for message in page.messages.into_vec() {
            if message.rev > self.rev {
                self.tell_change(Changed { prev: self.rev, message }, out);
            }
        }
        self.rev = self.rev.max(page.rev);
        self.rev > before
    }

    fn tell_change(&mut self, changed: Changed, out: &mut Ready) {
        let message = &changed.message;
        self.rev = message.rev;
        // One that waits for others is told as it is now.
        if let Some(held) = self.held.get_mut(&message.position.seq.0)
            && held.message.is_some()
        {
            held.message = Some(Box::new(message.clone()));
        }
        out.tell_with(Event::MessageChanged(changed), || Note::At(self.cursor()));
        self.noted = Some(self.reached());
    }
}
