//! How much one client address may take: connections at a time, new ones per second, refused logins, visitors.
//!
//! What counts is a network, the address without the bits that one subscriber chooses freely. An address that was only
//! claimed by a packet is counted apart from one that was shown to be reachable, so that a spoofer spends nothing of
//! those whose addresses they write.

mod table;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use foldhash::fast::FixedState;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use self::table::Table;
use crate::telemetry::Metrics;

/// What a client address may take.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections of one address at a time, over all carriers. Default 1000.
    pub connections_max: u32,
    /// New connections of one address per second, with a burst of one second. Default 100.
    pub connections_per_second: u32,
    /// Refused logins of one address per second, with a burst of one second; past it each ends its connection.
    /// Default 20.
    pub refused_logins_per_second: u32,
    /// Visitors of one address at a time. Default 100.
    pub visitors_max: u32,
    /// Leading bits of an IPv4 address that are one client. Default 32.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that are one client. Default 56.
    pub ipv6_prefix: u8,
    /// Addresses that are remembered. Default 100000.
    pub table_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 1000,
            connections_per_second: 100,
            refused_logins_per_second: 20,
            visitors_max: 100,
            ipv4_prefix: 32,
            ipv6_prefix: 56,
            table_max: 100_000,
        }
    }
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A packet says so.
    Claimed,
    /// What was sent there came back.
    Shown,
}

/// The bound that an address met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections at a time.
    Connections,
    /// New connections per second.
    Rate,
    /// The table has no room, and the address was only claimed.
    Table,
}

impl Limit {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "address_connections",
            Self::Rate => "address_rate",
            Self::Table => "address_table",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Addresses {
    config: Config,
    /// Logs show whole addresses.
    whole: bool,
    table: Mutex<Table>,
    metrics: Arc<Metrics>,
}

/// One connection of an address, given back when dropped.
#[derive(Debug)]
pub struct Counted {
    addresses: Arc<Addresses>,
    /// `None` if the table had no room for it.
    network: Option<IpAddr>,
    proof: Proof,
}

/// One visitor of an address, given back when dropped.
#[derive(Debug)]
pub struct Guest {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Addresses {
    /// Nobody is here. `whole`: logs show whole addresses.
    pub fn new(config: Config, whole: bool, hasher: FixedState, metrics: Arc<Metrics>) -> Self {
        Self { config, whole, table: Mutex::new(Table::new(hasher)), metrics }
    }

    /// Takes a connection from `address` in, or says which bound it met.
    pub fn admit(self: &Arc<Self>, address: IpAddr, proof: Proof, now: Instant) -> Result<Counted, Limit> {
        let network = self.network(address);
        let mut table = self.table();
        let kept = table.admit(network, proof, &self.config, now)?;
        self.metrics.addresses_known(table.len());
        if !kept {
            self.metrics.address_untracked();
        }
        Ok(Counted { addresses: self.clone(), network: kept.then_some(network), proof })
    }

    /// A login from `address` was refused. True if it was one too many.
    pub fn refuse_login(&self, address: IpAddr, now: Instant) -> bool {
        let network = self.network(address);
        let too_many = self.table().refuse_login(network, &self.config, now);
        if too_many {
            self.metrics.login_cut_short();
        }
        too_many
    }

    /// Counts a visitor of `address`; `None` if that would be one too many, or if the address is not counted at all.
    pub fn visit(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let network = self.network(address);
        let counted = self.table().visit(network, &self.config);
        counted.then(|| Guest { addresses: self.clone(), network })
    }

    /// How many visitors there are, of all addresses.
    pub fn visitors(&self) -> usize {
        self.table().visitors()
    }

    /// Forgets addresses without connections whose buckets are full.
    pub fn sweep(&self, now: Instant) {
        let mut table = self.table();
        table.sweep(now);
        self.metrics.addresses_known(table.len());
    }

    /// How logs show an address: its first 24 bits, 48 of IPv6, unless they may show all of it.
    pub fn shown(&self, address: IpAddr) -> String {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 24 } else { 48 };
        match IpNet::new(address, bits) {
            Ok(network) if !self.whole => network.trunc().to_string(),
            _ => address.to_string(),
        }
    }

    fn network(&self, address: IpAddr) -> IpAddr {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { self.config.ipv4_prefix } else { self.config.ipv6_prefix };
        // The configuration was checked: no prefix is longer than its address.
        IpNet::new(address, bits).map_or(address, |network| network.network())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// The address was shown to be reachable: from now on the connection counts as its own. Refused if it has as many
    /// as it may.
    pub fn show(&mut self) -> Result<(), Limit> {
        if self.proof == Proof::Shown {
            return Ok(());
        }
        if let Some(network) = self.network {
            self.addresses.table().show(network, &self.addresses.config)?;
        }
        self.proof = Proof::Shown;
        Ok(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(network) = self.network {
            self.addresses.table().leave(network, self.proof);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.addresses.table().depart(self.network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    fn addresses(whole: bool) -> Addresses {
        Addresses::new(Config::default(), whole, Entropy::seeded(1).hasher(), Metrics::new())
    }

    #[test]
    fn logs_show_the_network_of_an_address_unless_told_to_show_all() {
        for (address, part, all) in [
            ("203.0.113.77", "203.0.113.0/24", "203.0.113.77"),
            ("::ffff:203.0.113.77", "203.0.113.0/24", "203.0.113.77"),
            ("2001:db8:1:2::3", "2001:db8:1::/48", "2001:db8:1:2::3"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(addresses(false).shown(address), part);
            assert_eq!(addresses(true).shown(address), all);
        }
    }

    #[test]
    fn addresses_of_one_subscriber_are_one() {
        let same = |one: &str, other: &str| {
            let addresses = addresses(false);
            addresses.network(one.parse().unwrap()) == addresses.network(other.parse().unwrap())
        };
        assert!(same("2001:db8:0:1200::1", "2001:db8:0:12ff:ffff::2"));
        assert!(!same("2001:db8:0:1200::1", "2001:db8:0:1300::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    }
}
