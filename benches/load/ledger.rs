//! What became of one sender's messages: every one is accounted for, and every delivery is held against it.

use serde::{Deserialize, Serialize};

/// What the sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has its place.
    Accepted,
    /// It was refused and changed nothing.
    Refused,
    /// Nobody knows.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    answer: Option<Answer>,
    arrivals: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    newest_arrival: Option<u64>,
    misordered: u64,
    unheard_of: u64,
}

/// What the ledgers of all senders add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Messages that were sent.
    pub(crate) sent: u64,
    /// Of them, those with a place.
    pub(crate) accepted: u64,
    /// Of them, those that were refused.
    pub(crate) refused: u64,
    /// Of them, those without an answer.
    pub(crate) unknown: u64,
    /// Messages that arrived, each counted once.
    pub(crate) delivered: u64,
    /// Accepted ones that did not arrive.
    pub(crate) lost: u64,
    /// Arrivals beyond the first.
    pub(crate) duplicates: u64,
    /// Arrivals behind a later one.
    pub(crate) misordered: u64,
    /// Arrivals of what was refused or never sent.
    pub(crate) unexpected: u64,
}

impl Ledger {
    /// The number of the next message, which is sent now.
    pub(crate) fn send(&mut self) -> u64 {
        self.entries.push(Entry::default());
        self.entries.len() as u64 - 1
    }

    /// The sender was told.
    pub(crate) fn answered(&mut self, number: u64, answer: Answer) {
        if let Some(entry) = self.entry(number) {
            entry.answer = Some(answer);
        }
    }

    /// The receiver has it. True at the first time.
    pub(crate) fn arrived(&mut self, number: u64) -> bool {
        let Some(entry) = self.entry(number) else {
            self.unheard_of += 1;
            return false;
        };
        entry.arrivals += 1;
        let first = entry.arrivals == 1;
        if first {
            if self.newest_arrival.is_some_and(|newest| newest > number) {
                self.misordered += 1;
            }
            self.newest_arrival = self.newest_arrival.max(Some(number));
        }
        first
    }

    /// True if everything was answered, and arrived if it was accepted.
    pub(crate) fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| match entry.answer {
            Some(Answer::Accepted) => entry.arrivals > 0,
            Some(Answer::Refused | Answer::Unknown) => true,
            None => false,
        })
    }

    /// Adds it up.
    pub(crate) fn account(&self) -> Account {
        let mut account =
            Account { misordered: self.misordered, unexpected: self.unheard_of, ..Account::default() };
        for entry in &self.entries {
            account.sent += 1;
            match entry.answer {
                Some(Answer::Accepted) => account.accepted += 1,
                Some(Answer::Refused) => account.refused += 1,
                Some(Answer::Unknown) | None => account.unknown += 1,
            }
            account.delivered += u64::from(entry.arrivals > 0);
            account.duplicates += u64::from(entry.arrivals.saturating_sub(1));
            account.lost += u64::from(entry.answer == Some(Answer::Accepted) && entry.arrivals == 0);
            account.unexpected += u64::from(entry.answer == Some(Answer::Refused) && entry.arrivals > 0);
        }
        account
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number).ok()?)
    }
}

impl Account {
    /// Adds another sender's.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { sent, accepted, refused, unknown, delivered, lost, duplicates, misordered, unexpected } =
            other;
        self.sent += sent;
        self.accepted += accepted;
        self.refused += refused;
        self.unknown += unknown;
        self.delivered += delivered;
        self.lost += lost;
        self.duplicates += duplicates;
        self.misordered += misordered;
        self.unexpected += unexpected;
    }

    /// What breaks a promise, in words; nothing if all were kept.
    pub(crate) fn broken(&self) -> Vec<String> {
        let promises = [
            (self.lost, "were accepted and did not arrive"),
            (self.duplicates, "arrived once more"),
            (self.misordered, "arrived behind a later one"),
            (self.unexpected, "arrived although they were refused or never sent"),
        ];
        promises
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as many messages as there are answers.
    fn ledger(answers: &[Option<Answer>], arrivals: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for answer in answers {
            let number = ledger.send();
            if let Some(answer) = answer {
                ledger.answered(number, *answer);
            }
        }
        arrivals.iter().for_each(|number| _ = ledger.arrived(*number));
        ledger
    }

    #[test]
    fn every_message_is_accounted_for() {
        const YES: Option<Answer> = Some(Answer::Accepted);
        const NO: Option<Answer> = Some(Answer::Refused);
        const UNKNOWN: Option<Answer> = Some(Answer::Unknown);
        for (answers, arrivals, settled, broken) in [
            (&[][..], &[][..], true, 0),
            (&[YES, YES], &[0, 1], true, 0),
            (&[YES, NO, YES], &[0, 2], true, 0),
            (&[UNKNOWN, UNKNOWN], &[1], true, 0),
            (&[None, YES], &[0, 1], false, 0),
            (&[YES, YES], &[1], false, 1),
            (&[YES, YES], &[1, 0], true, 1),
            (&[YES, YES], &[0, 1, 0], true, 1),
            (&[NO], &[0], true, 1),
            (&[YES], &[0, 7], true, 1),
        ] {
            let ledger = ledger(answers, arrivals);
            let account = ledger.account();
            assert_eq!(ledger.is_settled(), settled, "{answers:?} {arrivals:?}");
            assert_eq!(account.broken().len(), broken, "{answers:?} {arrivals:?}: {account:?}");
            assert_eq!(account.sent, answers.len() as u64);
            assert_eq!(account.sent, account.accepted + account.refused + account.unknown);
            let mut twice = account;
            twice.add(&account);
            assert_eq!(twice.sent, 2 * account.sent);
        }
    }
}
