//! What goes wrong in the town, and how it ends.

use std::time::Duration;

use quail_protocol::{Epoch, Position, Seq};
use rand::RngExt;

use super::{LANES, Town};
use crate::history::What;

impl Town {
    pub(super) fn restart_app(&mut self, at: usize) {
        self.lose(at);
        let kept = self.random.random_ratio(1, 2);
        self.note(Some(at), What::AppRestarted { kept });
        let terminal = &mut self.terminals[at];
        terminal.kicked = false;
        terminal.outbox = Default::default();
        if !kept {
            terminal.follows.clear();
            terminal.unknown.clear();
        }
    }

    /// The app sends something again whose fate it does not know.
    pub(super) fn repeat(&mut self, at: usize) {
        if !self.terminals[at].kicked
            && let Some(message) = self.terminals[at].unknown.pop()
        {
            self.begin(at, message);
        }
    }

    pub(super) fn kick(&mut self, at: usize) {
        if self.terminals[at].online {
            self.note(Some(at), What::KickedOut);
            self.terminals[at].kicked = true;
            self.lose(at);
            (0..LANES).for_each(|lane| self.give_up(at, lane));
        }
    }

    /// Nothing is trimmed that a device which is online was not handed yet.
    pub(super) fn trim(&mut self) {
        let waits = |terminal: &super::Terminal| terminal.inbox.iter().any(|inbox| !inbox.is_empty());
        if self.terminals.iter().any(waits) {
            return;
        }
        for log in self.threads.values_mut() {
            let rest = log.entries.len() - log.first;
            log.first += self.random.random_range(0..=rest);
        }
    }

    pub(super) fn restart_server(&mut self) {
        self.note(None, What::ServerEnded);
        (0..self.terminals.len()).for_each(|at| self.lose(at));
        let epoch_stepped = self.random.random_ratio(1, 2);
        if epoch_stepped {
            self.epoch += 1;
            for log in self.threads.values_mut() {
                let lost = self.random.random_range(0..=(log.entries.len() - log.first).min(8));
                log.entries.truncate(log.entries.len() - lost);
                let head = log.entries.len() as u64;
                for (delivered, read) in log.marks.values_mut() {
                    (*delivered, *read) = ((*delivered).min(head), (*read).min(head));
                }
            }
        }
        self.note(None, What::ServerStarted { epoch_stepped });
    }

    /// Everything is well again, and is read.
    pub(super) fn settle(&mut self) {
        self.note(None, What::Healed);
        for at in 0..self.terminals.len() {
            if self.terminals[at].kicked {
                self.restart_app(at);
            }
            self.come_back(at);
        }
        // Within the time that everything has.
        let (started, busy) = (self.now, self.history.len());
        for turn in [Self::place, Self::reply, Self::receive] {
            for at in 0..self.terminals.len() {
                for lane in 0..LANES {
                    (0..1000).for_each(|_| turn(self, at, lane));
                }
            }
        }
        let settled = (self.history.len() - busy) as u32;
        for (at, record) in self.history[busy..].iter_mut().enumerate() {
            record.at = started + Duration::from_secs(5) * at as u32 / settled;
        }
        self.now = started + Duration::from_secs(5);
        let mut logs = Vec::new();
        for (thread, log) in &self.threads {
            let head = Position { epoch: Epoch(self.epoch), seq: Seq(log.entries.len() as u64) };
            let first = Seq(log.first as u64 + 1);
            let entries = log.entries[log.first..].to_vec();
            logs.push(What::Log { thread: thread.clone(), head, first, entries });
        }
        for log in logs {
            self.note(None, log);
        }
        for at in 0..self.terminals.len() {
            for thread in self.terminals[at].follows.keys().cloned().collect::<Vec<_>>() {
                let seq = Seq(self.threads[&thread].entries.len() as u64);
                let through = Position { epoch: Epoch(self.epoch), seq };
                self.note(Some(at), What::Complete { thread, through });
            }
        }
    }
}
