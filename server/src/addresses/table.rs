//! The bounded table of addresses. Pure: it is handed the time.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;

use super::{Config, Limit, Proof};
use crate::domain::rate::Bucket;

/// A full table is swept at most this often: with every entry in use a sweep finds nothing, and costs all the same.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What one address takes.
#[derive(Debug, Default)]
struct Share {
    shown: u32,
    claimed: u32,
    visitors: u32,
    arrivals: Bucket,
    /// Apart from `arrivals`, or a spoofer would empty the bucket of whoever has the address.
    claims: Bucket,
    refused_logins: Bucket,
}

impl Share {
    fn is_forgettable(&self, now: Instant) -> bool {
        let idle = self.shown == 0 && self.claimed == 0 && self.visitors == 0;
        idle && [self.arrivals, self.claims, self.refused_logins].iter().all(|bucket| bucket.is_full(now))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    shares: HashMap<IpAddr, Share, FixedState>,
    /// Of all shares together.
    visitors: usize,
    swept: Option<Instant>,
}

impl Table {
    pub(super) fn new(hasher: FixedState) -> Self {
        Self { shares: HashMap::with_hasher(hasher), visitors: 0, swept: None }
    }

    /// Counts a connection from `network`. False if it was taken in without being counted.
    ///
    /// A full table refuses addresses that are only claimed, which can show themselves first, and lets the others in
    /// uncounted: whoever commands so many addresses meets the bounds of the whole server, and nobody is locked out.
    pub(super) fn admit(
        &mut self,
        network: IpAddr,
        proof: Proof,
        config: &Config,
        now: Instant,
    ) -> Result<bool, Limit> {
        if !self.make_room(network, config, now) {
            return match proof {
                Proof::Claimed => Err(Limit::Table),
                Proof::Shown => Ok(false),
            };
        }
        let share = self.shares.entry(network).or_default();
        let (taken, bucket) = match proof {
            Proof::Claimed => (share.shown.saturating_add(share.claimed), &mut share.claims),
            Proof::Shown => (share.shown, &mut share.arrivals),
        };
        if taken >= config.connections_max {
            return Err(Limit::Connections);
        }
        bucket.draw(config.connections_per_second, now).map_err(|_| Limit::Rate)?;
        match proof {
            Proof::Claimed => share.claimed += 1,
            Proof::Shown => share.shown += 1,
        }
        Ok(true)
    }

    /// A claimed connection of `network` becomes a shown one.
    pub(super) fn show(&mut self, network: IpAddr, config: &Config) -> Result<(), Limit> {
        let Some(share) = self.shares.get_mut(&network) else { return Ok(()) };
        if share.shown >= config.connections_max {
            return Err(Limit::Connections);
        }
        share.claimed = share.claimed.saturating_sub(1);
        share.shown += 1;
        Ok(())
    }

    /// A connection of `network` ended.
    pub(super) fn leave(&mut self, network: IpAddr, proof: Proof) {
        let Some(share) = self.shares.get_mut(&network) else { return };
        let count = match proof {
            Proof::Claimed => &mut share.claimed,
            Proof::Shown => &mut share.shown,
        };
        *count = count.saturating_sub(1);
    }

    /// Counts a refused login of `network`. True if it was one too many.
    pub(super) fn refuse_login(&mut self, network: IpAddr, config: &Config, now: Instant) -> bool {
        // Unknown is who was let in uncounted.
        let Some(share) = self.shares.get_mut(&network) else { return false };
        share.refused_logins.draw(config.refused_logins_per_second, now).is_err()
    }

    /// Counts a visitor of `network`. False if it has as many as it may, or was let in uncounted: nobody would count its
    /// visitors either.
    pub(super) fn visit(&mut self, network: IpAddr, config: &Config) -> bool {
        let Some(share) = self.shares.get_mut(&network) else { return false };
        let admitted = share.visitors < config.visitors_max;
        share.visitors += u32::from(admitted);
        self.visitors += usize::from(admitted);
        admitted
    }

    /// A visitor of `network` is gone.
    pub(super) fn depart(&mut self, network: IpAddr) {
        if let Some(share) = self.shares.get_mut(&network) {
            share.visitors = share.visitors.saturating_sub(1);
            self.visitors = self.visitors.saturating_sub(1);
        }
    }

    /// How many visitors there are.
    pub(super) fn visitors(&self) -> usize {
        self.visitors
    }

    /// Forgets who has no connection, no visitor and full buckets.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.shares.retain(|_, share| !share.is_forgettable(now));
        self.swept = Some(now);
    }

    pub(super) fn len(&self) -> usize {
        self.shares.len()
    }

    /// True if `network` is in the table or may be added.
    fn make_room(&mut self, network: IpAddr, config: &Config, now: Instant) -> bool {
        if self.shares.len() < config.table_max || self.shares.contains_key(&network) {
            return true;
        }
        if self.swept.is_none_or(|at| now.duration_since(at) >= SWEEP_PAUSE) {
            self.sweep(now);
        }
        self.shares.len() < config.table_max
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    const SECOND: Duration = Duration::from_secs(1);

    fn table() -> (Table, Config, Instant) {
        let config =
            Config { connections_max: 2, connections_per_second: 10, table_max: 4, ..Config::default() };
        (Table::new(Entropy::seeded(1).hasher()), config, Instant::now())
    }

    fn network(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn an_address_has_so_many_connections_and_one_that_left_makes_room() {
        let (mut table, config, now) = table();
        for _ in 0..2 {
            assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Ok(true));
        }
        assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Err(Limit::Connections));
        assert_eq!(table.admit(network(2), Proof::Shown, &config, now), Ok(true), "another address");
        table.leave(network(1), Proof::Shown);
        assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Ok(true));
    }

    #[test]
    fn an_address_connects_so_often_and_may_again_later() {
        let (mut table, config, now) = table();
        for _ in 0..10 {
            assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Ok(true));
            table.leave(network(1), Proof::Shown);
        }
        assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Err(Limit::Rate));
        assert_eq!(table.admit(network(1), Proof::Shown, &config, now + SECOND / 10), Ok(true));
    }

    #[test]
    fn a_spoofer_spends_nothing_of_whoever_has_the_address() {
        let (mut table, config, now) = table();
        for _ in 0..1000 {
            _ = table.admit(network(1), Proof::Claimed, &config, now);
        }
        assert_eq!(table.admit(network(1), Proof::Claimed, &config, now), Err(Limit::Connections));
        for _ in 0..2 {
            assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Ok(true));
        }
        assert_eq!(table.show(network(1), &config), Err(Limit::Connections), "a third handshake is done");
    }

    #[test]
    fn a_handshake_that_is_done_counts_as_a_connection_of_its_address() {
        let (mut table, config, now) = table();
        assert_eq!(table.admit(network(1), Proof::Claimed, &config, now), Ok(true));
        assert_eq!(table.show(network(1), &config), Ok(()));
        assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Ok(true));
        assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Err(Limit::Connections));
        table.leave(network(1), Proof::Shown);
        table.leave(network(1), Proof::Shown);
        table.sweep(now + SECOND);
        assert_eq!(table.len(), 0, "nothing is left behind");
    }

    #[test]
    fn a_full_table_locks_nobody_out_and_grows_no_more() {
        let (mut table, config, now) = table();
        for number in 0..4 {
            assert_eq!(table.admit(network(number), Proof::Shown, &config, now), Ok(true));
        }
        assert_eq!(table.admit(network(9), Proof::Shown, &config, now), Ok(false), "in, but not counted");
        assert_eq!(table.admit(network(9), Proof::Claimed, &config, now), Err(Limit::Table));
        assert_eq!(table.admit(network(1), Proof::Shown, &config, now), Ok(true), "the known are counted on");
        table.leave(network(9), Proof::Shown);
        assert_eq!(table.len(), 4);
        table.leave(network(0), Proof::Shown);
        assert_eq!(table.admit(network(9), Proof::Shown, &config, now), Ok(false), "swept a moment ago");
        assert_eq!(table.admit(network(9), Proof::Shown, &config, now + SECOND), Ok(true));
    }

    #[test]
    fn an_address_has_so_many_visitors_and_one_that_left_makes_room() {
        let (mut table, config, now) = table();
        let config = Config { visitors_max: 2, ..config };
        assert!(!table.visit(network(1), &config), "nobody knows the address");
        table.admit(network(1), Proof::Shown, &config, now).unwrap();
        let admitted = (0..3).filter(|_| table.visit(network(1), &config)).count();
        assert_eq!((admitted, table.visitors()), (2, 2));
        table.leave(network(1), Proof::Shown);
        table.depart(network(1));
        table.sweep(now + SECOND);
        assert_eq!(table.len(), 1, "one visitor is still to be counted off");
        assert!(table.visit(network(1), &config));
        table.depart(network(1));
        table.depart(network(1));
        table.sweep(now + SECOND);
        assert_eq!((table.len(), table.visitors()), (0, 0));
    }

    #[test]
    fn refused_logins_of_an_address_are_too_many_at_some_point() {
        let (mut table, config, now) = table();
        table.admit(network(1), Proof::Shown, &config, now).unwrap();
        let too_many = (0..30).filter(|_| table.refuse_login(network(1), &config, now)).count();
        assert_eq!(too_many, 10);
        assert!(!table.refuse_login(network(1), &config, now + SECOND));
        assert!(!table.refuse_login(network(2), &config, now), "who is not counted is not held to it");
    }
}
