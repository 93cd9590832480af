//! IP networks, as operators write them: `192.0.2.0/24`, `2001:db8::/32`, or one address.
//!
//! An IPv4 address inside an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address: nobody escapes a ban by
//! writing an address differently.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// A network; the bits behind its prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Neither an address nor `address/prefix`.
    #[error("not an address or network such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32")]
    Malformed,
    /// Bits behind the prefix: a mistake more often than not.
    #[error("has bits behind its prefix; the network is {0}")]
    HostBits(Network),
}

impl Network {
    /// Parses an address or `address/prefix`.
    ///
    /// # Errors
    /// Neither, or bits behind the prefix.
    pub fn parse(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let given: IpAddr = address.parse().map_err(|_| InvalidNetwork::Malformed)?;
        let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            None => width(given),
            Some(text) => {
                let parsed = Some(text).filter(digits).and_then(|text| text.parse::<u8>().ok());
                parsed.filter(|bits| *bits <= width(given)).ok_or(InvalidNetwork::Malformed)?
            }
        };
        let network = match given {
            IpAddr::V6(v6) if prefix >= 96 && v6.to_ipv4_mapped().is_some() => {
                Self::around(given.to_canonical(), prefix - 96)
            }
            _ => Self { address: masked(given, prefix), prefix },
        };
        match network.address == given.to_canonical() || network.address == given {
            true => Ok(network),
            false => Err(InvalidNetwork::HostBits(network)),
        }
    }

    /// The network of this length around an address.
    fn around(address: IpAddr, prefix: u8) -> Self {
        Self { address: masked(address, prefix), prefix }
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;
    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        Self::parse(&text)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix == width(self.address) {
            true => self.address.fmt(f),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

/// Values by network; a look-up costs one hash per length of prefix in use, however many networks.
#[derive(Clone, Debug)]
pub struct NetworkMap<T> {
    values: HashMap<Network, T>,
    /// Lengths in use, per family: (is IPv4, prefix).
    lengths: BTreeSet<(bool, u8)>,
}

impl<T> Default for NetworkMap<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), lengths: BTreeSet::new() }
    }
}

impl<T> NetworkMap<T> {
    /// The value at this network, made if there is none.
    pub fn entry(&mut self, network: Network) -> std::collections::hash_map::Entry<'_, Network, T> {
        self.lengths.insert((network.address.is_ipv4(), network.prefix));
        self.values.entry(network)
    }

    /// The values of all networks that hold the address.
    pub fn holding(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let address = address.to_canonical();
        let lengths = self.lengths.iter().filter(move |(v4, _)| *v4 == address.is_ipv4());
        lengths.filter_map(move |(_, prefix)| self.values.get(&Network::around(address, *prefix)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_however_they_are_written() {
        let table = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),
            ("::ffff:192.0.2.0/120", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "::1", true),
        ];
        for (net, address, holds) in table {
            assert_eq!(network(net).contains(ip(address)), holds, "{net} {address}");
            let mut map = NetworkMap::default();
            map.entry(network(net)).or_insert(());
            assert_eq!(map.holding(ip(address)).count() == 1, holds, "{net} {address}");
            assert_eq!(network(&network(net).to_string()), network(net));
        }
    }

    #[test]
    fn what_is_no_network_is_refused_and_host_bits_are_pointed_out() {
        for bad in ["", "a", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/+1", "1.2.3/8", "::/129"] {
            assert_eq!(Network::parse(bad), Err(InvalidNetwork::Malformed), "{bad}");
        }
        let hint = Network::parse("192.0.2.7/24").unwrap_err().to_string();
        assert!(hint.ends_with("192.0.2.0/24"), "{hint}");
    }
}
